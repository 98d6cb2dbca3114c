#!/bin/bash
# A throw-away machine: real systemd as PID 1 of its own namespaces, on an overlay of this root.
#
#   box.sh can            exits 0 if a box can be made here, else says why not and exits 77
#   box.sh up DIR TREE    boots a box whose state is kept in DIR (new); TREE is copied over its root
#   box.sh run DIR COMMAND [ARGUMENT...]     runs a command inside (at most $BOX_LIMIT seconds)
#   box.sh down DIR       powers it off and removes DIR
#
# The box sees this machine's files, read through the overlay; what it writes goes to a tmpfs that
# vanishes with it. It has a loopback interface of its own and no other network. It powers itself
# off after $BOX_LIFE seconds.
set -euo pipefail
self=$(readlink -f "$0")
life=${BOX_LIFE:-300}
limit=${BOX_LIMIT:-120}
systemd=/lib/systemd/systemd

# It boots to basic.target: of the host's own services none is started. These would be all the same.
masked=(systemd-sysctl.service systemd-modules-load.service systemd-random-seed.service
    systemd-binfmt.service systemd-timesyncd.service systemd-resolved.service
    systemd-networkd.service systemd-udevd.service systemd-udev-trigger.service
    systemd-update-utmp.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount
    sys-kernel-tracing.mount networking.service apt-daily.timer apt-daily-upgrade.timer
    dpkg-db-backup.timer man-db.timer e2scrub_all.timer logrotate.timer fstrim.timer)

die() { echo "box: $*" >&2; exit 1; }

can() {
    local reason=
    [ "$(id -u)" = 0 ] || reason="not root"
    [ -x $systemd ] || reason="no systemd"
    for tool in unshare nsenter setpriv pivot_root timeout setsid; do
        command -v $tool >/dev/null || reason="no $tool"
    done
    if [ -z "$reason" ]; then
        # The parts most often forbidden in containers, tried for real.
        # shellcheck disable=SC2016
        unshare --mount --propagation private --pid --fork --uts --ipc --net sh -c '
            d=$(mktemp -d) && mount -t tmpfs box "$d" && mkdir "$d/u" "$d/w" "$d/r" &&
            mount -t overlay box -o "lowerdir=/,upperdir=$d/u,workdir=$d/w" "$d/r" &&
            mount -t proc proc "$d/r/proc"; ok=$?
            umount "$d/r/proc" 2>/dev/null; umount "$d/r" 2>/dev/null; umount "$d"; rmdir "$d"
            exit $ok' >/dev/null 2>&1 || reason="no overlay mounts or namespaces"
    fi
    if [ -z "$reason" ] && [ -z "$(groups_of_control)" ]; then reason="no writable cgroup tree"; fi
    [ -z "$reason" ] && return 0
    echo "SKIPPED: $reason"
    exit 77
}

# Cgroup trees in which the box gets a group: the one of a pure cgroup2 machine, or systemd's own
# and the empty cgroup2 beside v1 controllers.
groups_of_control() {
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
        if [ -w /sys/fs/cgroup ]; then echo /sys/fs/cgroup; fi
        return 0
    fi
    for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        if [ -w "$tree/cgroup.procs" ]; then echo "$tree"; fi
    done
}
join_group() { # leaf: a group with controllers for its children may hold no process itself
    local tree group controller
    for tree in $(groups_of_control); do
        group=$tree/$(basename "$1")-$(id_of "$1")
        mkdir -p "$group/$2"
        echo $$ >"$group/$2/cgroup.procs"
        for controller in $(cat "$group/cgroup.controllers" 2>/dev/null); do
            echo "+$controller" >"$group/cgroup.subtree_control" 2>/dev/null || true
        done
    done
}
id_of() { cksum <<<"$1" | cut -d' ' -f1; }
remove_groups() {
    local tree group
    for tree in $(groups_of_control); do
        group=$tree/$(basename "$1")-$(id_of "$1")
        for _ in {1..40}; do
            [ -d "$group" ] || break
            find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
            [ -d "$group" ] && sleep 0.05
        done
        [ ! -d "$group" ] || echo "box: cgroup $group is still busy" >&2
    done
}

# Step 1, in a mount namespace of its own: the root file system.
prepare() { # DIR TREE
    local work=$1/work root unit
    mount -t tmpfs -o mode=0755,size=2g box "$work"
    mkdir "$work/upper" "$work/work" "$work/root"
    root=$work/root
    mount -t overlay box -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root"
    mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/system.conf.d"
    for unit in "${masked[@]}"; do
        rm -rf "$root/etc/systemd/system/$unit"
        ln -s /dev/null "$root/etc/systemd/system/$unit"
    done
    ln -sfn /lib/systemd/system/basic.target "$root/etc/systemd/system/default.target"
    rm -f "$root/etc/machine-id" "$root/etc/fstab" "$root/etc/hosts" "$root/etc/hostname"
    : >"$root/etc/fstab"
    : >"$root/etc/machine-id"
    echo box >"$root/etc/hostname"
    printf '127.0.0.1 localhost box\n::1 localhost\n' >"$root/etc/hosts"
    mkdir -p "$root/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
        >"$root/etc/systemd/journald.conf.d/box.conf"
    printf '[Manager]\nDefaultTimeoutStopSec=10s\n' >"$root/etc/systemd/system.conf.d/box.conf"
    # -L follows a root's /lib -> usr/lib when the tree has a real lib directory.
    tar -C "$2" --owner=0 --group=0 -cf - . | tar -C "$root" --keep-directory-symlink -xpf -
    join_group "$1" outside
    export BOX_ROOT=$root
    exec timeout --signal=TERM --kill-after=5 "$life" unshare --fork --kill-child --pid --mount \
        --uts --ipc --net "$BASH" "$self" _namespaces "$1" </dev/null
}

# Step 2, as PID 1 of the new namespaces: devices, /proc, /sys; then systemd takes over.
become_init() {
    local root=$BOX_ROOT path name type major minor
    hostname box
    ip link set lo up
    mount --rbind "$root" "$root"
    cd "$root"
    mount -t proc -o nosuid,nodev,noexec proc proc
    for path in proc/sys proc/sysrq-trigger; do # the kernel's knobs are the host's
        [ -e $path ] || continue
        mount --bind $path $path
        mount -o remount,bind,ro $path
    done
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755,nosuid,strictatime tmpfs dev
    mkdir dev/pts dev/shm
    while read -r name type major minor; do
        mknod -m 666 "dev/$name" "$type" "$major" "$minor"
    done <<EOF
null c 1 3
zero c 1 5
full c 1 7
random c 1 8
urandom c 1 9
tty c 5 0
EOF
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    for name in "0 stdin" "1 stdout" "2 stderr"; do ln -s "fd/${name% *}" "dev/${name#* }"; done
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
    mkdir .outside
    pivot_root . .outside
    umount -l /.outside
    rmdir /.outside
    cd /
    mount --make-rshared / # systemd hands credentials over by mount propagation
    exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv \
        --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override \
        $systemd --system --log-target=journal --show-status=0
}

# The box's PID 1 as this machine sees it: starter -> unshare -> systemd.
leader() { # DIR
    local starter child grandchild
    starter=$(cat "$1/pid" 2>/dev/null) || return 1
    for child in $(cat "/proc/$starter/task/$starter/children" 2>/dev/null); do
        for grandchild in $(cat "/proc/$child/task/$child/children" 2>/dev/null); do
            case $(readlink "/proc/$grandchild/exe" 2>/dev/null) in
            */systemd/systemd | */systemd/systemd-shutdown) echo "$grandchild"; return 0 ;;
            esac
        done
    done
    return 1
}

inside() { # DIR SECONDS COMMAND...
    local dir=$1 seconds=$2 pid
    shift 2
    pid=$(leader "$dir") || die "the box is not running"
    # --no-fork and a shell that forks: nsenter's own waiting would be stopped together with its
    # child at power-off, and nobody would reap it.
    # shellcheck disable=SC2016
    timeout --signal=TERM --kill-after=5 "$seconds" \
        nsenter --no-fork -t "$pid" -m -u -i -n -p -C -r -w -- env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER=cat \
        SYSTEMD_COLORS=0 TERM=dumb container=box /bin/sh -c '"$@"; exit $?' box "$@"
}

up() { # DIR TREE
    local pid state
    mkdir "$1" "$1/work"
    setsid unshare --mount --propagation private "$BASH" "$self" _prepare "$1" "$2" \
        >"$1/boot.log" 2>&1 </dev/null &
    pid=$!
    echo $pid >"$1/pid"
    for _ in {1..600}; do
        kill -0 $pid 2>/dev/null || { cat "$1/boot.log" >&2; down "$1"; die "did not start"; }
        if leader "$1" >/dev/null; then
            state=$(inside "$1" 30 systemctl is-system-running --wait 2>/dev/null || true)
            # "degraded": some unit of the host failed; the box is up all the same
            case $state in running | degraded) return 0 ;; esac
        fi
        sleep 0.05
    done
    cat "$1/boot.log" >&2
    down "$1"
    die "did not come up in time"
}

down() { # DIR
    local pid leader
    [ -d "$1" ] || return 0
    pid=$(cat "$1/pid" 2>/dev/null || true)
    # The number may be somebody else's by now: only a process that carries our directory, or has
    # our PID 1 below it, is ours.
    if [ -n "$pid" ]; then
        if leader=$(leader "$1"); then
            kill -s RTMIN+4 "$leader" 2>/dev/null || true # power off
            for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
            if leader=$(leader "$1"); then kill -KILL "$leader" 2>/dev/null || true; fi
            for _ in {1..40}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
        elif grep -qzF -- "$1" "/proc/$pid/cmdline" 2>/dev/null; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
    fi
    remove_groups "$1"
    rm -rf --one-file-system "$1"
}

verb=${1:-}
[ -n "$verb" ] && shift
case $verb in
can) can ;;
up) up "$@" ;;
run) dir=$1; shift; inside "$dir" "$limit" "$@" ;;
down) down "$@" ;;
_prepare) prepare "$@" ;;
_namespaces) join_group "$1" inside; exec unshare --cgroup "$BASH" "$self" _init ;;
_init) become_init ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$self"; exit 64 ;;
esac
