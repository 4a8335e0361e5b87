#!/bin/busybox sh
# The first and only program of the guest: tells on the console what its config drive says.
# acpid wants a place for its log and its number.
/bin/busybox mkdir -p /proc /sys /dev /boot /config /var/log /var/run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module.ko"; done </modules/order

# Disks come up beside the kernel's modules.
find_label() {
    tries=0
    until device=$(findfs "LABEL=$1" 2>/dev/null); do
        tries=$((tries + 1))
        [ "$tries" -le 100 ] || return 1
        usleep 100000
    done
    echo "$device"
}

say() { printf 'guest: %s\n' "$*"; }

say "kernel $(uname -r)"
if drive=$(find_label config-2) && mount -o ro "$drive" /config; then
    say "config drive $drive, $(grep " /config " /proc/mounts | cut -d ' ' -f 3)"
    latest=/config/openstack/latest
    awk -f /json.awk "$latest/meta_data.json" >/meta_data
    sed -n \
        -e 's|^/uuid=|guest: instance uuid |p' \
        -e 's|^/hostname=|guest: hostname |p' \
        -e 's|^/public_keys/\([^=]*\)=|guest: ssh key \1 |p' \
        -e 's|^/meta/\([^=]*\)=|guest: metadata \1 |p' /meta_data
    hostname "$(sed -n 's|^/hostname=||p' /meta_data)"
    if [ -f "$latest/user_data" ]; then
        say "user data, $(wc -c <"$latest/user_data") bytes"
        sed 's/^/guest: | /' "$latest/user_data"
        [ -z "$(tail -c 1 "$latest/user_data")" ] || echo
    else
        say "no user data"
    fi
else
    say "NO CONFIG DRIVE"
fi

if disk=$(find_label "@LABEL@") && mount "$disk" /boot; then
    echo "booted by $(sed -n 's|^/uuid=||p' /meta_data)" >>/boot/BOOTED.TXT
    sync
    say "root disk $disk, boot $(wc -l </boot/BOOTED.TXT) is noted on it"
else
    say "NO ROOT DISK"
fi

# The power button.
mkdir -p /etc/acpi/PWRF
cat >/etc/acpi/PWRF/00000080 <<'BUTTON'
#!/bin/sh
echo 'guest: power button' >/dev/console
umount /boot
sync
poweroff -f
BUTTON
chmod +x /etc/acpi/PWRF/00000080
acpid
say "ready"
while :; do setsid cttyhack sh; done
