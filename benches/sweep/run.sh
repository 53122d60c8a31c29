#!/usr/bin/env bash
# A thousand policies beside one replay, in turn, on a capture that is hard for a sweep. Needs python3. Arguments: rounds, flows.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds="${1:-5}"
flows="${2:-100000}"
cargo build --release --locked --quiet
capture="target/sweep-$flows.pcap"
[ -f "$capture" ] || python3 benches/sweep/traffic.py "$capture" "$flows"
seconds() {
    local begin end
    begin=$(date +%s.%N)
    target/release/flowlapse "$@" >/dev/null
    end=$(date +%s.%N)
    awk -v b="$begin" -v e="$end" 'BEGIN { printf "%.3f", e - b }'
}
for _ in $(seq "$rounds"); do
    one=$(seconds replay "$capture" --box conntrack:strict,established=900)
    many=$(seconds sweep "$capture" --box conntrack:strict --vary conntrack.established=300..7200:lin1000)
    echo "one replay $one s, 1000 policies $many s: $(awk -v m="$many" -v o="$one" 'BEGIN { printf "%.2f", m / o }') times"
done
