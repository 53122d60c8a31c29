#!/usr/bin/env bash
# How many instructions the release binary takes on small fixed inputs, counted by valgrind, beside the recorded figures: a
# count does not depend on how busy the machine is. Fails where one is more than 3% off, slower or faster; --record writes
# them anew. FLOWLAPSE names another binary than the release build. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/../.."
tolerance=3
figures=benches/instructions/figures.txt
path=(--box conntrack --box ipvs:nat --box aws-nlb)
command -v valgrind >/dev/null || { echo "valgrind is not installed: no instructions counted"; exit 0; }
if [ -z "${FLOWLAPSE:-}" ]; then
    cargo build --release --locked --quiet
    FLOWLAPSE="${CARGO_TARGET_DIR:-target}/release/flowlapse"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Threads that look for work would count as well.
export RAYON_NUM_THREADS=1

# count ARGUMENTS: the instructions of one run, into $instructions.
count() {
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$work/log" "$FLOWLAPSE" "$@" >"$work/out" 2>"$work/err"; then
        echo "flowlapse $* failed under valgrind:"
        cat "$work/err" "$work/log"
        exit 1
    fi
    instructions=$(awk '/Collected :/ { print $4 }' "$work/log")
    [ -n "$instructions" ] || { echo "valgrind counted nothing:"; cat "$work/log"; exit 1; }
}

# figure NAME ARGUMENTS: a whole run, start-up and all.
figure() {
    local name="$1"
    shift
    count "$@"
    printf '%s\t%s\n' "$instructions" "$name" >>"$work/counted"
}

# a_packet NAME ARGUMENTS: what one more packet costs, by the difference of two runs: FLOWS among the arguments is 500 and then 1000.
a_packet() {
    local name="$1" small
    shift
    count "${@/FLOWS/500}"
    small=$instructions
    count "${@/FLOWS/1000}"
    awk -v s="$small" -v l="$instructions" -v p="$packets" -v n="$name" 'BEGIN { printf "%.1f\t%s\n", (l - s) / p, n }' >>"$work/counted"
}

# synth FLOWS: writes a capture; how many packets it has.
synth() {
    "$FLOWLAPSE" synth benches/instructions/traffic.json --flows "$1" -o "$work/$1.pcap" --json | sed -n 's/.*"packets": \([0-9]*\).*/\1/p'
}

echo "rustc $(rustc -vV | sed -n 's/^release: //p') $(rustc -vV | sed -n 's/^host: //p')" >"$work/compiler"
fixture=fixtures/captures/ssh-survives-ipvs-nat-keepalive-600-client-side.pcap
figure "replay of a fixture" replay "$fixture" "${path[@]}" --threads 1
figure "sweep of a fixture, 1000 values" sweep "$fixture" "${path[@]}" --vary conntrack.established=300..7200:lin1000 --threads 1
packets=$(($(synth 1000) - $(synth 500)))
(cd "$work" && cksum 500.pcap 1000.pcap) | sed 's/^/capture /' >"$work/captures"
a_packet "replay, a packet" replay "$work/FLOWS.pcap" "${path[@]}" --limit 1 --stories 0 --threads 1
a_packet "replay with every flow as JSON, a packet" replay "$work/FLOWS.pcap" "${path[@]}" --json --threads 1
a_packet "sweep of 1000 values, a packet" sweep "$work/FLOWS.pcap" "${path[@]}" --vary conntrack.established=300..7200:lin1000 --threads 1
a_packet "synth, a packet" synth benches/instructions/traffic.json --flows FLOWS -o "$work/again.pcap" --threads 1

if [ "${1:-}" = --record ]; then
    {
        echo "# Instructions, as benches/instructions/run.sh --record counted them."
        cat "$work/compiler" "$work/captures" "$work/counted"
    } >"$figures"
    cat "$figures"
    exit 0
fi
again="Where that is meant, benches/instructions/run.sh --record writes new figures, to be committed with the change."
wrong=0
if ! grep '^capture ' "$figures" | cmp -s - "$work/captures"; then
    echo "The captures that synth writes are not those of the recorded figures, so figures a packet cannot be compared."
    wrong=1
fi
awk -F'\t' -v tolerance="$tolerance" '
    FNR == NR { if (NF == 2) recorded[$2] = $1; next }
    !($2 in recorded) { printf "%14s  %-42s not recorded\n", $1, $2; off++; next }
    {
        change = ($1 / recorded[$2] - 1) * 100
        word = ""
        if (change > tolerance) word = "  SLOWER"
        if (change < -tolerance) word = "  FASTER"
        if (word != "") off++
        printf "%14s  %-42s %+.2f%% of %s%s\n", $1, $2, change, recorded[$2], word
        delete recorded[$2]
    }
    END {
        for (name in recorded) { printf "%14s  %-42s recorded, not counted\n", "-", name; off++ }
        if (off) { printf "%d of the figures are not within %s%% of those in benches/instructions/figures.txt.\n", off, tolerance; exit 1 }
    }' "$figures" "$work/counted" || wrong=1
if ! grep '^rustc ' "$figures" | cmp -s - "$work/compiler"; then
    echo "$(cat "$work/compiler") counts otherwise than $(grep '^rustc ' "$figures"), with which the figures were recorded: nothing is held against them."
    exit 0
fi
[ "$wrong" = 0 ] || { echo "$again"; exit 1; }
