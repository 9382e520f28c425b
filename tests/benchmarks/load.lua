-- What wrk sends, taken from the environment, and what it says at its end: one line of JSON.
-- With CHECK=1 every body is compared with BODY_WANTED; that costs wrk time, so it is not done in
-- rounds that are measured.

wrk.method = os.getenv("METHOD") or "GET"
wrk.body = os.getenv("BODY")
for name, value in (os.getenv("HEADERS") or ""):gmatch("([^:\n]+): ([^\n]*)") do
  wrk.headers[name] = value
end

-- With VARIED every request is another one: its path with a number for {n}.
local varied = os.getenv("VARIED")
if varied then
  local number = 0
  function request()
    number = number + 1
    return wrk.format(nil, (varied:gsub("{n}", number)))
  end
end

wrong = 0
local threads = {}
local wanted = os.getenv("BODY_WANTED")

function setup(thread)
  table.insert(threads, thread)
end

if os.getenv("CHECK") == "1" then
  function response(status, _, body)
    if status ~= 200 or body ~= wanted then
      wrong = wrong + 1
    end
  end
end

function done(summary, latency)
  local unlike = 0
  for _, thread in ipairs(threads) do
    unlike = unlike + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": '
      .. '{"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d, "unlike": %d}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status, unlike))
end
