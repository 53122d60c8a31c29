#!/bin/sh
# flowlapse collector, format 1: what this machine shows of its connections and of the timers that end them.
#
# It only reads. It writes to its standard output, for one file:  sh collector.sh > machine.txt
# What it asks may make the kernel load the modules that answer (nf_tables, nf_conntrack_netlink), never those that track or filter.
# Without root it goes as far as it gets, and says what it could not read. It needs no tool beyond the shell, cat, grep, sed, date
# and uname; where sysctl's tree, ipvsadm, conntrack, ss, nft or iptables-save are missing, it reads /proc, or says so.
# Keys and passwords are left out. Addresses, ports, program names and the rules of packet filters are not.

LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
umask 077
exec 3>&1

section() { echo "=== flowlapse: $*"; }
note() { echo "=== flowlapse: note $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

now() {
    moment=$(date +%s.%N 2>/dev/null)
    case $moment in
        *.*[!0-9]* | *. | *[!0-9.]* | '') date +%s ;;
        *) echo "$moment" ;;
    esac
}

# run TITLE COMMAND ...: its output, and a note where it failed.
run() {
    title=$1
    shift
    section "time $(now)"
    section "$title"
    failure=$({ "$@" </dev/null >&3; } 2>&1) && return 0
    note "'$title' failed: $(echo "$failure" | head -n 1)"
    return 1
}

# file TITLE PATH: a file, and a note where it is there and cannot be read.
file() {
    [ -e "$2" ] || return 1
    if [ -r "$2" ]; then
        section "time $(now)"
        section "$1"
        cat "$2" 2>/dev/null && return 0
    fi
    note "$2 cannot be read"
    return 1
}

section collector 1
section machine
echo "epoch=$(now)"
echo "release=$(uname -r)"
echo "hostname=$(uname -n)"
hz=
if [ -r /proc/config.gz ] && have zcat; then
    hz=$(zcat /proc/config.gz 2>/dev/null | sed -n 's/^CONFIG_HZ=//p')
fi
for config in "/boot/config-$(uname -r)" "/lib/modules/$(uname -r)/config" "/usr/lib/modules/$(uname -r)/config"; do
    if [ -z "$hz" ] && [ -r "$config" ]; then
        hz=$(sed -n 's/^CONFIG_HZ=//p' "$config")
    fi
done
if [ -n "$hz" ]; then
    echo "hz=$hz"
elif have getconf; then
    # What programs are told is not what the kernel ticks with.
    echo "user_hz=$(getconf CLK_TCK 2>/dev/null)"
fi
container=0
if [ -e /run/.containerenv ] || [ -e /.dockerenv ]; then
    container=1
fi
if grep -q -e docker -e kubepods -e containerd -e libpod -e /lxc /proc/1/cgroup 2>/dev/null; then
    container=1
fi
own=$(readlink /proc/self/ns/net 2>/dev/null)
first=$(readlink /proc/1/ns/net 2>/dev/null)
if [ -n "$own" ] && [ -n "$first" ] && [ "$own" != "$first" ]; then
    container=1
fi
echo "container=$container"

section "/proc/sys"
# The second file makes grep print names.
for name in net/netfilter/nf_conntrack_* net/netfilter/nf_flowtable_* net/ipv4/netfilter/ip_conntrack_* net/ipv4/ip_conntrack_max \
    net/nf_conntrack_max net/ipv4/vs/* net/ipv4/tcp_keepalive_* net/ipv4/tcp_retries1 net/ipv4/tcp_retries2 net/ipv4/tcp_syn_retries \
    net/ipv4/tcp_synack_retries net/ipv4/tcp_fin_timeout net/ipv4/tcp_orphan_retries net/ipv4/tcp_tw_reuse \
    net/ipv4/ip_local_port_range net/ipv4/ip_forward net/ipv6/conf/all/forwarding; do
    for path in /proc/sys/$name; do
        [ -f "$path" ] && grep . "$path" /dev/null 2>/dev/null
    done
done

if [ -e /proc/net/ip_vs ]; then
    services=1
    if have ipvsadm && run "ipvsadm -l --timeout" ipvsadm -l --timeout; then
        run "ipvsadm -Sn" ipvsadm -Sn && services=0
    else
        note "IPVS's timeouts are not shown: ipvsadm is missing or may not ask the kernel"
    fi
    [ "$services" = 0 ] || file "/proc/net/ip_vs" /proc/net/ip_vs
    # The kernel's own table says which entries came by synchronisation.
    file "/proc/net/ip_vs_conn_sync" /proc/net/ip_vs_conn_sync || file "/proc/net/ip_vs_conn" /proc/net/ip_vs_conn
else
    note "IPVS is not loaded, or its tables are not to be seen"
fi

tracked=1
if have conntrack && [ -e /proc/sys/net/netfilter/nf_conntrack_max ]; then
    run "conntrack -L" conntrack -L && tracked=0
fi
if [ "$tracked" = 1 ]; then
    file "/proc/net/nf_conntrack" /proc/net/nf_conntrack || file "/proc/net/ip_conntrack" /proc/net/ip_conntrack ||
        note "conntrack's table is not shown: not root, not loaded, or neither conntrack nor /proc/net/nf_conntrack is there"
fi

if have ss; then
    run "ss -tnop" ss -tnop
elif have netstat; then
    run "netstat -tnoW" netstat -tnoW
else
    note "sockets are not shown: neither ss nor netstat is there"
fi

filtered=0
if have nft; then
    run "nft list ruleset" nft list ruleset && filtered=1
fi
for tool in iptables-save ip6tables-save; do
    if have $tool; then
        case $filtered:$($tool --version 2>/dev/null) in
            # What it would print is among nft's rules.
            1:*nf_tables*) ;;
            *) run "$tool" $tool && filtered=1 ;;
        esac
    fi
done
[ "$filtered" = 1 ] || note "the packet filter is not shown: not root, or neither nft nor iptables-save is there"
if have nfct && [ -e /sys/module/nfnetlink_cttimeout ]; then
    run "nfct list timeout" nfct list timeout
fi

matched=0
if have sshd && [ "$(id -u 2>/dev/null)" = 0 ]; then
    run "sshd -T" sshd -T && matched=1
fi
for path in /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config; do
    [ -e "$path" ] || continue
    if [ "$matched" = 0 ]; then
        file "sshd_config $path" "$path"
    elif [ -r "$path" ] && grep -q -i '^[[:space:]]*match[[:space:]]' "$path"; then
        # sshd -T says what holds for everybody.
        section "sshd_config $path"
        sed -n '/^[[:space:]]*[Mm][Aa][Tt][Cc][Hh][[:space:]]/,$p' "$path"
    fi
done
for path in /etc/ssh/ssh_config /etc/ssh/ssh_config.d/*.conf; do
    [ -e "$path" ] && file "ssh_config $path" "$path"
done

for path in /etc/keepalived/keepalived.conf /etc/keepalived/conf.d/*.conf /etc/keepalived/keepalived.d/*.conf; do
    [ -e "$path" ] || continue
    if [ -r "$path" ]; then
        section "keepalived.conf $path"
        grep -v -i -e auth_pass -e password -e secret "$path"
    else
        note "$path cannot be read"
    fi
done

for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = kube-proxy ] || continue
    section "kube-proxy flags"
    # Nothing else of its command line.
    tr '\000' '\n' <"$process/cmdline" 2>/dev/null | grep -e '^--proxy-mode' -e '^--ipvs-' -e '^--conntrack-'
    config=$(tr '\000' '\n' <"$process/cmdline" 2>/dev/null | sed -n 's/^--config=//p')
    if [ -n "$config" ] && [ -r "$process/root$config" ]; then
        section "kube-proxy config"
        cat "$process/root$config"
    elif [ -n "$config" ]; then
        note "kube-proxy's configuration cannot be read; print it with: kubectl -n kube-system get configmap kube-proxy -o yaml"
    fi
done

section end
