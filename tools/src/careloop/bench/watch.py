"""An independent reader in a process of its own: opens each `GapOpened` and notes when it arrived and whose it is.

`python -m careloop.bench.watch SETTINGS.json OUT.jsonl` prints `ready` once it stands at the end of the topic, and ends
on SIGTERM. Each line of OUT is `[time, patient_id]`.
"""

import json
import signal
import sys
import time
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from careloop.reader import Keys, consumer, open_event
from phi_common.topics import PARTITIONS


def main() -> None:
    """Read until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = json.loads(Path(sys.argv[1]).read_text())
    keys = Keys(settings["vault"], settings["ca_file"], settings["role_id"], settings["wrapped_secret_id"])
    source = consumer(settings, keys.password(settings["principal"]))
    topic = settings["topics"][0]
    source.assign([TopicPartition(topic, p, _end(source, topic, p)) for p in range(PARTITIONS)])
    print("ready", flush=True)
    with Path(sys.argv[2]).open("w", buffering=1 << 16) as out:
        while True:
            messages = source.consume(1, 0.05) + source.consume(500, 0)
            now = time.time()
            for message in messages:
                headers = dict(message.headers() or [])
                if message.error() is None and headers["ce_type"] == b"GapOpened.v1":
                    event = open_event(topic, message.key(), headers, message.value(), keys.unwrap)  # type: ignore[arg-type]
                    out.write(json.dumps([now, event["data"]["patient_id"]]) + "\n")
            if not messages:
                out.flush()


def _end(source: Consumer, topic: str, partition: int) -> int:
    offsets = source.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    return offsets[1] if offsets else OFFSET_END


if __name__ == "__main__":
    main()
