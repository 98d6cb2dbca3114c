#!/bin/bash
# package.sh BINDIR - the Debian package with the programs of BINDIR: built twice, equal; without
# complaint of lintian; installed, upgraded under open sessions, removed and purged in a throw-away
# machine (box.sh).
#
# Exits 77 after "SKIPPED: reason" where no such machine can be made. Takes about two minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
[ $# = 1 ] || { echo "usage: Tests/System/package.sh BINDIR" >&2; exit 64; }
bin=$(cd "$1" && pwd)
export BOX_LIFE=420 BOX_LIMIT=390

"$here/box.sh" can
for tool in dh lintian dpkg-deb python3; do
    command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done

work=$(mktemp -d)
box=$work/box
cleanup() {
    "$here/box.sh" down "$box"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

build() { # a copy of what packaging needs, so that the tree stays as it is
    mkdir "$work/$1"
    (cd "$top" && tar -cf - debian systemd etc docs mail.toml.example CHANGELOG.md) |
        tar -C "$work/$1" -xf -
    (cd "$work/$1" && umask "$2" && debian/rules clean && BIN=$bin debian/rules binary) \
        >"$work/$1.log" 2>&1 || { cat "$work/$1.log"; exit 1; }
}
build first 022
build second 077
package=$(cd "$work/first/packages" && ls *.deb)
case $("$bin/mailctl" --version) in
*" $(cut -d_ -f2 <<<"$package")") echo "ok the package has the version of the programs" ;;
*) echo "$package, but $("$bin/mailctl" --version)" >&2; exit 1 ;;
esac
cmp "$work/first/packages/$package" "$work/second/packages/$package"
echo "ok two builds are equal"
lintian --fail-on warning --allow-root "$work/first/packages/$package"
echo "ok lintian has nothing to say"

# The next version: the same files.
stage=$work/stage
mkdir -p "$stage/root"
cp "$work/first/packages/$package" "$stage/root/martlet.deb"
dpkg-deb --raw-extract "$stage/root/martlet.deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group --build "$work/next" "$stage/root/next.deb" >/dev/null
install -m 755 "$here/inside_package.py" "$stage/root/inside_package.py"

"$here/box.sh" up "$box" "$stage"
status=0
"$here/box.sh" run "$box" python3 /root/inside_package.py || status=$?
if [ $status != 0 ]; then
    echo "--- journal of the box"
    "$here/box.sh" run "$box" journalctl -b --no-pager -n 60 || true
fi
exit $status
