"""One step of a workflow: adds its number to a document in JSON, and the sum of its records.

    python3 step.py NUMBER            the document on standard input, the answer on standard output
    python3 step.py NUMBER --worker   one {"id", "payload"} per line, answered in the same form
"""

import json
import sys

NUMBER = int(sys.argv[1])


def handle(document):
    document["steps"].append(NUMBER)
    document["total"] += sum(record["amount"] for record in document["records"])
    return document


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if sys.argv[2:] == ["--worker"]:
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"], "payload": handle(request["payload"])}
        print(dump(answer), flush=True)
else:
    sys.stdout.write(dump(handle(json.load(sys.stdin))))
