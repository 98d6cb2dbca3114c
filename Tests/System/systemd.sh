#!/bin/bash
# systemd.sh BINDIR - the installed suite under a real systemd: the units of this tree and the
# programs of BINDIR in a throw-away machine (box.sh). One mail goes in by port 25 and comes out by
# IMAPS and POP3S, before and after reloads, restarts and kills.
#
# Exits 77 after "SKIPPED: reason" where no such machine can be made. Takes about a minute, at most
# five, and leaves nothing behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
[ $# = 1 ] || { echo "usage: Tests/System/systemd.sh BINDIR" >&2; exit 64; }
bin=$(cd "$1" && pwd)
export BOX_LIFE=300 BOX_LIMIT=270

"$here/box.sh" can
for tool in python3 openssl; do
    command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done
for program in smtpd imapd pop3d msgstored mailctl; do
    [ -x "$bin/$program" ] || { echo "$bin/$program is not built" >&2; exit 1; }
done

work=$(mktemp -d)
box=$work/box
cleanup() {
    "$here/box.sh" down "$box"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

stage=$work/stage
mkdir "$stage"
"$top/systemd/install-tree.sh" "$bin" "$stage"
# What an administrator adds to the installed files.
cat >"$stage/etc/martlet/mail.toml" <<'EOF'
[server]
hostname = "box.example.test"

[[domains]]
name = "example.test"
EOF
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=box.example.test -addext subjectAltName=DNS:box.example.test,DNS:localhost \
    -keyout "$stage/etc/martlet/tls/privkey.pem" -out "$stage/etc/martlet/tls/fullchain.pem" \
    2>/dev/null
chmod 600 "$stage/etc/martlet/tls/privkey.pem"
# Here a system call that the units do not list kills, so that none can hide behind an EPERM.
for service in smtpd imapd pop3d msgstored; do
    install -d "$stage/etc/systemd/system/$service.service.d"
    printf '[Service]\nSystemCallErrorNumber=\n' \
        >"$stage/etc/systemd/system/$service.service.d/test.conf"
done
install -D -m 755 "$here/inside.py" "$stage/root/inside.py"

"$here/box.sh" up "$box" "$stage"
status=0
"$here/box.sh" run "$box" python3 /root/inside.py || status=$?
if [ $status != 0 ]; then
    echo "--- journal of the box"
    BOX_LIMIT=20 "$here/box.sh" run "$box" journalctl --no-pager -o short-precise -n 150 \
        -u 'smtp*' -u 'imap*' -u 'pop3*' -u 'msgstored*' -u 'submission*' -u martlet.target || true
fi
exit $status
