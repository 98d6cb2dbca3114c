#!/bin/bash
# Checks the units without starting anything: `systemd-analyze verify`, the common sandbox, and the
# exposure of every service against its ceiling. Needs no root. Prints one line per service.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
complain() { echo "FAILED: $*"; failed=1; }

# A root in which the programs exist, so that verify has nothing to say about them.
units=$work/lib/systemd/system
mkdir -p "$units" "$work/usr/libexec/martlet" "$work/bin"
cp ./*.service ./*.socket ./*.target "$units"
for unit in sysinit.target basic.target shutdown.target sockets.target multi-user.target \
    -.mount -.slice system.slice tmp.mount umount.target; do
    if [ -e "/lib/systemd/system/$unit" ]; then cp -L "/lib/systemd/system/$unit" "$units"; fi
done
for program in usr/libexec/martlet/{smtpd,imapd,pop3d,msgstored,authd-oauth,authd-ldap} bin/kill bin/sleep; do
    printf '#!/bin/sh\n' >"$work/$program"
    chmod 755 "$work/$program"
done
ours=$(printf '%s\n' ./*.service ./*.socket ./*.target | sed 's,^\./,,')
# shellcheck disable=SC2086
systemd-analyze verify --man=no --recursive-errors=no --root="$work" $ours >"$work/verify" 2>&1 ||
    complain "systemd-analyze verify"
if [ -s "$work/verify" ]; then
    complain "systemd-analyze verify is not silent:"
    cat "$work/verify"
fi

for service in smtpd imapd pop3d; do
    for name in $service msgstored; do
        sed -n '/^# --- sandbox/,/^# --- end/p' $name.service >"$work/$name.sandbox"
    done
    cmp -s "$work/$service.sandbox" "$work/msgstored.sandbox" ||
        complain "the sandbox of $service.service is not that of msgstored.service"
done

# Ceilings in tenths.
while read -r service ceiling; do
    systemd-analyze security --offline=true --root="$work" --threshold="$ceiling" --no-pager \
        "$service.service" >"$work/security" 2>&1 || complain "$service.service is too exposed"
    grep -a 'Overall exposure level' "$work/security" || complain "no exposure of $service.service"
done <<EOF
smtpd 4
imapd 4
pop3d 4
msgstored 4
authd-oauth 16
authd-ldap 16
EOF
[ $failed = 0 ] && echo "units: ok ($(wc -w <<<"$ours") units)"
exit $failed
