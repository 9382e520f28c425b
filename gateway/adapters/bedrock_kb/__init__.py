"""`kind = "bedrock_kb"`: Amazon Bedrock knowledge bases, through boto3 in threads.

* `settings.py`: the keys of the service and of a call
* `question.py`: what a call asks, from its keys' values
* `aws.py`: the two APIs of AWS'; everything in it blocks; imported where it is used, an extra
* `adapter.py`: calls, several knowledge bases at once
"""

from gateway.adapters.bedrock_kb.adapter import KIND

__all__ = ["KIND"]
