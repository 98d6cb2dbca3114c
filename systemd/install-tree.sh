#!/bin/sh
# install-tree.sh BINDIR DESTDIR - lays the built programs, units and configuration into DESTDIR
# ("" is this machine). Starts nothing. An existing mail.toml is left alone.
set -eu
[ $# = 2 ] || { echo "usage: systemd/install-tree.sh BINDIR DESTDIR" >&2; exit 64; }
bin=$1 dest=$2
here=$(cd "$(dirname "$0")/.." && pwd)

put() { # mode source target
    install -D -m "$1" "$2" "$dest/$3"
}
program() { # source target: without symbols where strip is at hand
    put 755 "$1" "$2"
    if command -v strip >/dev/null; then strip --strip-unneeded "$dest/$2"; fi
}

for daemon in smtpd imapd pop3d msgstored authd-oauth authd-ldap; do
    program "$bin/$daemon" usr/libexec/martlet/$daemon
done
program "$bin/mailctl" usr/bin/mailctl
for unit in "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.target; do
    put 644 "$unit" "lib/systemd/system/${unit##*/}"
done
put 644 "$here/etc/sysusers.d/martlet.conf" usr/lib/sysusers.d/martlet.conf
put 644 "$here/etc/tmpfiles.d/martlet.conf" usr/lib/tmpfiles.d/martlet.conf
put 644 "$here/etc/fail2ban/filter.d/martlet.conf" etc/fail2ban/filter.d/martlet.conf
put 644 "$here/etc/fail2ban/jail.d/martlet.conf.example" \
    usr/share/doc/martlet/examples/fail2ban-jail.conf
put 644 "$here/etc/prometheus/martlet.rules.yml" \
    usr/share/doc/martlet/examples/prometheus-rules.yml
put 644 "$here/mail.toml.example" usr/share/doc/martlet/examples/mail.toml
install -d -m 755 "$dest/etc/martlet" "$dest/etc/martlet/mail.toml.d"
install -d -m 700 "$dest/etc/martlet/tls"
for page in "$here"/docs/man/*.[1-8]*; do
    [ -e "$page" ] || continue
    section=${page##*.}
    put 644 "$page" "usr/share/man/man$(printf %.1s "$section")/${page##*/}"
done
