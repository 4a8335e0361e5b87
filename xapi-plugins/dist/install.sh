#!/bin/sh
# Installs the plugins in dom0, or removes them. Run as root in the folder that this script is in.
#
#   install.sh [--remove] [--root DIR]
#
# The binary goes to /opt/xapi-plugins, and every name that it answers to becomes a link in
# /etc/xapi.d/plugins, with and without ".py". A plugin of somebody else under such a name is kept as
# NAME.replaced, and comes back with --remove. Nothing is restarted: XAPI looks at each call.
set -eu
remove= root=
while [ $# -gt 0 ]; do
    case $1 in
        --remove) remove=yes ;;
        --root) root=${2:?"--root wants a folder"}; shift ;;
        *) echo "usage: install.sh [--remove] [--root DIR]" >&2; exit 2 ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd)
plugins=$root/etc/xapi.d/plugins
home=$root/opt/xapi-plugins
target=/opt/xapi-plugins/xapi-plugins
if [ ! -d "$plugins" ]; then
    echo "install.sh: $plugins is not there: this is not the control domain of a XenServer or XCP-ng host" >&2
    exit 1
fi
is_ours() { [ -L "$1" ] && [ "$(readlink "$1")" = "$target" ]; }

if [ "$remove" ]; then
    for link in "$plugins"/*; do
        is_ours "$link" || continue
        rm "$link"
        if [ -e "$link.replaced" ]; then mv "$link.replaced" "$link"; fi
    done
    rm -rf "$home"
    echo "removed"
    exit 0
fi

names=$("$here/xapi-plugins" --names)
mkdir -p "$home"
# Beside its place first: a call that comes meanwhile finds the old one or the new one whole.
cp "$here/xapi-plugins" "$home/.new"
chmod 755 "$home/.new"
mv "$home/.new" "$home/xapi-plugins"
for name in $names; do
    for link in "$plugins/$name" "$plugins/$name.py"; do
        if ! is_ours "$link"; then
            if [ -e "$link" ]; then mv "$link" "$link.replaced"; fi
            ln -s "$target" "$link"
        fi
    done
done
"$here/xapi-plugins" --version
