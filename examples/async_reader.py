"""Frames in an asyncio program: async_reader.py [NAME] [FRAMES]."""

import asyncio
import sys

import depthd


async def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "depthd"
    left = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with depthd.open(name) as reader:
        async for frame in reader:
            print(f"frame {frame.id}: {frame.age_s * 1e3:.1f} ms old")
            left -= 1
            if left == 0:
                break


if __name__ == "__main__":
    asyncio.run(main())
