#!/usr/bin/env python3
"""Writes a capture that is hard for a sweep: FILE FLOWS [SEED]. A fifth of its flows fall silent for longer than usual timers.

Raw IPv4, nanoseconds, headers only. The same arguments give the same bytes.
"""

import random
import struct
import sys

FILE, FLOWS = sys.argv[1], int(sys.argv[2])
random.seed(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
FIN, SYN, PSH, ACK = 1, 2, 8, 16
SERVER = 192 << 24 | 168 << 16 | 1
START = 1_700_000_000


def flow(number):
    """The packets of one flow: handshake, up to five exchanges after silences with a heavy tail, and mostly a close."""
    at = random.random() * 6 * 3600
    ends = [(10 << 24 | number & 0xFFFFFF, 1024 + number * 7 % 60000), (SERVER, random.choice([22, 443, 5432, 80]))]
    nexts = [random.getrandbits(32), random.getrandbits(32)]
    trip = 0.001 + random.random() * 0.05
    packets = []

    def send(side, flags, length=0):
        ack = 0 if flags == SYN else nexts[1 - side]
        packets.append((at, ends[side], ends[1 - side], flags, nexts[side], ack, length))
        nexts[side] = (nexts[side] + length + (1 if flags & (SYN | FIN) else 0)) & 0xFFFFFFFF

    send(0, SYN)
    at += trip / 2
    send(1, SYN | ACK)
    at += trip / 2
    send(0, ACK)
    for _ in range(random.randint(1, 5)):
        at += min(random.paretovariate(0.45), 20000)
        if random.random() < 0.1:
            at = float(int(at))
        send(0, PSH | ACK, random.randint(1, 500))
        at += trip
        send(1, PSH | ACK, random.randint(1, 1400))
        at += trip / 2
        send(0, ACK)
    if random.random() < 0.75:
        at += random.random() * 10
        send(0, FIN | ACK)
        at += trip
        send(1, FIN | ACK)
        at += trip / 2
        send(0, ACK)
    return packets


with open(FILE, "wb") as out:
    out.write(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 101))
    for at, src, dst, flags, seq, ack, length in sorted(packet for n in range(FLOWS) for packet in flow(n)):
        tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], seq, ack, 0x50, flags, 60000, 0, 0)
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + length, 0, 0, 64, 6, 0, src[0], dst[0])
        seconds = int(at)
        out.write(struct.pack("<IIII", START + seconds, int((at - seconds) * 1e9), 40, 40 + length) + ip + tcp)
