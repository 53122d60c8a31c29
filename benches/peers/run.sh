#!/usr/bin/env bash
# Replay beside other programs that read captures, in turn, medians of the rounds; and what it needs: memory, threads, a sweep
# beside one replay, files as they come. Arguments: FILE ROUNDS PART...; without them ten million packets of half a million
# flows, 3, and all parts: peers threads memory sweep files. A peer that is not installed is named and left out.
# FLOWLAPSE names another binary than the release build; PREFIX how many packets the slow peers get (1000000); LIMIT for how
# many seconds tcptrace is waited for on the whole file (900).
set -euo pipefail
cd "$(dirname "$0")/../.."
target="${CARGO_TARGET_DIR:-target}"
if [ -z "${FLOWLAPSE:-}" ]; then
    cargo build --release --locked --quiet
    FLOWLAPSE="$target/release/flowlapse"
fi
file="${1:-$target/big.pcap}"
rounds="${2:-3}"
shift $(($# < 2 ? $# : 2))
parts=" ${*:-peers threads memory sweep files} "
prefix="${PREFIX:-1000000}"
limit="${LIMIT:-900}"
path=(--box conntrack --box ipvs:nat --box aws-nlb)
[ -f "$file" ] || "$FLOWLAPSE" synth benches/big.json -o "$file"
mkdir -p "$target"
work=$(mktemp -d "$target/peers-XXXXXX")
trap 'rm -rf "$work"' EXIT

has() { command -v "$1" >/dev/null; }
wanted() { [[ "$parts" = *" $1 "* ]]; }
installed() { has "$1" || { echo "$1 is not installed: left out"; return 1; }; }

replay() { "$FLOWLAPSE" replay "$@" "${path[@]}" "${summary[@]}" >/dev/null; }
summary=(--json --summary)

# seconds COMMAND: how long it takes. A command that fails ends everything.
seconds() {
    local begin end
    begin=$(date +%s.%N)
    "$@" >/dev/null 2>"$work/err" || { echo "failed: $*" >&2; cat "$work/err" >&2; return 1; }
    end=$(date +%s.%N)
    awk -v b="$begin" -v e="$end" 'BEGIN { printf "%.3f", e - b }'
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { if (NR) printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# compare NAME TARGET WAY -- THEIRS -- OURS: both commands in turn. WAY says what the ratio is: ours/theirs or theirs/ours.
# Printed are the seconds of theirs and of ours, and the ratio with its smallest and largest.
compare() {
    local name="$1" aim="$2" way="$3" theirs=() ours=() one two round
    shift 4
    while [ "$1" != -- ]; do theirs+=("$1"); shift; done
    shift
    ours=("$@")
    rm -f "$work"/{one,two,ratio}
    for round in $(seq "$rounds"); do
        # Who goes first changes, so that neither always finds the other's traces.
        if [ $((round % 2)) = 1 ]; then
            one=$(seconds "${theirs[@]}") && two=$(seconds "${ours[@]}") || return 1
        else
            two=$(seconds "${ours[@]}") && one=$(seconds "${theirs[@]}") || return 1
        fi
        echo "$one" >>"$work/one"
        echo "$two" >>"$work/two"
        awk -v o="$one" -v t="$two" -v w="$way" 'BEGIN { printf "%.3f\n", w == "ours/theirs" ? t / o : o / t }' >>"$work/ratio"
    done
    printf '%-44s %9s s  against %9s s: %8s times (%s to %s)%s\n' "$name" "$(median "$work/one")" "$(median "$work/two")" \
        "$(median "$work/ratio")" "$(sort -n "$work/ratio" | head -n 1)" "$(sort -n "$work/ratio" | tail -n 1)" "${aim:+  target $aim}"
}

# peak COMMAND: the most memory that it had, in KiB.
peak() {
    if [ -x /usr/bin/time ]; then
        /usr/bin/time -f %M -o "$work/peak" "$@" >/dev/null
        tail -n 1 "$work/peak"
        return
    fi
    local pid most=0 now
    "$@" <&0 >/dev/null &
    pid=$!
    while now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
        most=$now
        sleep 0.02
    done
    wait "$pid"
    echo "$most"
}

# held ARGUMENTS: how many packets and flows a replay finds.
held() {
    "$FLOWLAPSE" replay "$@" "${path[@]}" --limit 1 --stories 0 |
        awk '/ packets in / { sub(/^.*: /, ""); packets = $1 } /^[0-9]+ flows: / { flows = $1 } END { print packets, flows }'
}

# The first look also brings the file into the page cache.
read -r packets flows < <(held "$file")
echo "$file: $packets packets of $flows flows, $(stat -L -c %s "$file") bytes; $rounds rounds, $(nproc) cores"

if wanted peers; then
    nfpcapd_all() {
        rm -rf "$work/nf" && mkdir "$work/nf" && nfpcapd -r "$file" -w "$work/nf"
    }
    if installed tcpdump; then
        compare "tcpdump -w /dev/null; ours/theirs" "<= 1" ours/theirs -- tcpdump -r "$file" -w /dev/null -- replay "$file"
        [ "$packets" -le "$prefix" ] || tcpdump -r "$file" -c "$prefix" -w "$work/prefix.pcap" 2>/dev/null
    fi
    if installed nfpcapd; then
        compare "nfpcapd -w; theirs/ours" ">= 15" theirs/ours -- nfpcapd_all -- replay "$file"
    fi
    if [ "$packets" -gt "$prefix" ] && [ ! -f "$work/prefix.pcap" ] && has editcap; then
        editcap -r "$file" "$work/prefix.pcap" "1-$prefix"
    fi
    short="$file"
    [ "$packets" -le "$prefix" ] || short="$work/prefix.pcap"
    if [ -f "$short" ]; then
        [ "$short" = "$file" ] || echo "the next two have the first $prefix packets only, and so has replay beside them"
        if installed tshark; then
            compare "tshark -q -z conv,tcp; theirs/ours" ">= 100" theirs/ours -- tshark -n -r "$short" -q -z conv,tcp -- replay "$short"
        fi
        if installed tcptrace; then
            compare "tcptrace; theirs/ours" ">= 40" theirs/ours -- tcptrace -n "$short" -- replay "$short"
        fi
    else
        echo "neither tcpdump nor editcap is there to cut the file: tshark and tcptrace are left out"
    fi
    # It takes longer a packet the more flows there are, so a part of the file says little of the whole.
    if [ "$short" != "$file" ] && has tcptrace; then
        ours=$(seconds replay "$file")
        if theirs=$(seconds timeout "$limit" tcptrace -n "$file" 2>/dev/null); then
            awk -v t="$theirs" -v o="$ours" 'BEGIN { printf "tcptrace, the whole file, once: %s s against %s s: %.1f times  target >= 40\n", t, o, t / o }'
        else
            awk -v t="$limit" -v o="$ours" 'BEGIN { printf "tcptrace, the whole file, once: stopped after %s s, against %s s: more than %.1f times  target >= 40\n", t, o, t / o }'
        fi
    fi
fi

if wanted threads; then
    compare "--threads 1 against --threads 2" ">= 1.7" theirs/ours -- replay "$file" --threads 1 -- replay "$file" --threads 2
fi

if wanted memory; then
    tenth=$((packets / 10))
    read -r _ flows_tenth < <(held "$file" -c "$tenth")
    whole=$(peak "$FLOWLAPSE" replay "$file" "${path[@]}" "${summary[@]}")
    part=$(peak "$FLOWLAPSE" replay "$file" -c "$tenth" "${path[@]}" "${summary[@]}")
    # Whoever is cut off in a pipe after a tenth fails, and is meant to.
    pipe_whole=$(cat "$file" | peak "$FLOWLAPSE" replay - "${path[@]}" "${summary[@]}")
    pipe_part=$({ cat "$file" 2>/dev/null || true; } | peak "$FLOWLAPSE" replay - -c "$tenth" "${path[@]}" "${summary[@]}")
    said() {
        awk -v n="$1" -v w="$2" -v p="$3" -v f="$flows" -v t="$flows_tenth" 'BEGIN {
            printf "peak memory, %s: %.1f MiB with %d flows, %.1f MiB with %d (a tenth of the packets)", n, w / 1024, f, p / 1024, t
            if (f > t) printf ": %.0f bytes a flow", (w - p) * 1024 / (f - t)
            print ""
        }'
    }
    said "file" "$whole" "$part"
    said "pipe" "$pipe_whole" "$pipe_part"
fi

if wanted sweep; then
    sweep() { "$FLOWLAPSE" sweep "$file" "${path[@]}" --vary conntrack.established=300..7200:lin1000 >/dev/null; }
    compare "sweep of 1000 policies against one replay" "" theirs/ours -- sweep -- replay "$file"
fi

if wanted files; then
    if installed editcap; then
        editcap -F pcapng "$file" "$work/blocks.pcapng"
        compare "pcapng against pcap" "" theirs/ours -- replay "$work/blocks.pcapng" -- replay "$file"
        if installed gzip; then
            gzip -c "$work/blocks.pcapng" >"$work/blocks.pcapng.gz"
            compare "pcapng.gz, zcat; ours/theirs" "" ours/theirs -- zcat "$work/blocks.pcapng.gz" -- replay "$work/blocks.pcapng.gz"
        fi
        if installed zstd; then
            zstd -q "$work/blocks.pcapng" -o "$work/blocks.pcapng.zst"
            compare "pcapng.zst, zstd -dc; ours/theirs" "" ours/theirs -- zstd -q -dc "$work/blocks.pcapng.zst" -- replay "$work/blocks.pcapng.zst"
        fi
        rm -f "$work"/blocks.*
    fi
    # Large transfers, kept whole: an answer is fifty full segments, and every second of these is acknowledged.
    if "$FLOWLAPSE" synth benches/big.json --flows 5000 --snaplen 0 --set population.exchange.reply=73000 -o "$work/full.pcap" >"$work/out" 2>&1; then
        echo "whole packets: $(cut -d: -f2- <"$work/out")"
        cat "$work/full.pcap" >/dev/null
        compare "whole packets, cat; ours/theirs" "" ours/theirs -- cat "$work/full.pcap" -- replay "$work/full.pcap"
    else
        echo "no capture of whole packets could be made: left out"
        cat "$work/out"
    fi
fi
