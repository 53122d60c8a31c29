#!/usr/bin/env bash
# The closed loop on one core, beside ns-3's core scheduler where that is installed (Debian: libns3-dev, libgsl-dev,
# libxml2-dev, g++, pkg-config).
# An event is a timer that fires or a packet that reaches a box or an end. Takes the number of rounds; 3 if not given.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked --quiet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ns3=
if pkg-config --exists ns3-core 2>/dev/null || pkg-config --exists libns3-core 2>/dev/null; then
    package=$(pkg-config --exists ns3-core 2>/dev/null && echo ns3-core || echo libns3-core)
    # shellcheck disable=SC2046
    g++ -O3 -std=c++17 -o "$work/ns3" benches/closed-loop/ns3.cpp $(pkg-config --cflags --libs "$package") && ns3=1 || echo "ns-3 is there but does not build (libgsl-dev, libxml2-dev?)"
fi
[ -n "$ns3" ] || echo "ns-3 is not installed: only this side is measured"
for round in $(seq "${1:-3}"); do
    begin=$(date +%s.%N)
    events=$(target/release/flowlapse run benches/closed-loop/million.json --set population.flows=100000 --threads 1 --json \
        | sed -n 's/.*"events": \([0-9]*\).*/\1/p')
    end=$(date +%s.%N)
    ours=$(awk -v e="$events" -v a="$begin" -v b="$end" 'BEGIN { printf "%.0f", e / (b - a) }')
    if [ -n "$ns3" ]; then
        theirs=$("$work/ns3" 3000000)
        awk -v r="$round" -v o="$ours" -v t="$theirs" \
            'BEGIN { printf "round %d: flowlapse %d events/s on one core, ns-3 %d: %.0f times as many\n", r, o, t, o / t }'
    else
        echo "round $round: flowlapse $ours events/s on one core"
    fi
done
