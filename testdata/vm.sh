#!/bin/bash
# testdata/vm.sh SCRIPT [PROGRAM...]
# Runs SCRIPT, of busybox' shell, as root of a virtual machine that has a device
# mapper and a blank disk /dev/vda, whether or not this machine has one. The
# PROGRAMs are in its PATH, beside busybox, lvm2 and what makes and checks file
# systems. The exit status is that of SCRIPT.
#
# It needs no root and no KVM, changes nothing outside of its cache
# ($TINYBACKUP_VM_CACHE, by default below $TMPDIR), and takes a kernel from
# Debian's package, which is unpacked there and not installed.
#   apt-get install --no-install-recommends qemu-system-x86 busybox-static lvm2 cpio \
#       e2fsprogs xfsprogs
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(dirname "$(realpath "$0")")
script=$(realpath "$1")
shift
programs=()
for p in "$@"; do programs+=("$(realpath "$p")"); done
cache=${TINYBACKUP_VM_CACHE:-${TMPDIR:-/tmp}/tinybackup-vm}
mkdir -p "$cache"
cd "$cache"
exec 9>lock
flock 9

kernel=$("$here/vm-kernel.sh")
version=$(ls "$kernel/lib/modules")

# What the machine boots from: a root in memory.
rm -rf root
mkdir -p root/{bin,dev,proc,sys,run/lvm,tmp,etc,usr,mnt}
ln -s bin root/sbin
ln -s ../bin root/usr/bin
ln -s ../bin root/usr/sbin
put() { # a program, and the libraries it is linked with
	cp -L "$1" root/bin/
	{ ldd "$1" 2>/dev/null || true; } | sed -n 's|^[^/]*\(/[^ ]*\) .*|\1|p' | while read -r library; do
		install -D "$library" "root$library"
	done
}
put "$(command -v busybox)"
for name in lvm mkfs.ext4 e2fsck mkfs.xfs xfs_repair; do put "$(command -v $name)"; done
for p in ${programs[@]+"${programs[@]}"}; do put "$p"; done
for name in pvcreate vgcreate vgs lvcreate lvs lvremove lvchange; do ln -s lvm root/bin/$name; done
cp "$script" root/script
# Drivers, and what they lean on; busybox' depmod finds out who leans on whom.
for part in drivers/md drivers/virtio drivers/block/virtio_blk.ko drivers/dax fs/xfs lib crypto arch/x86/crypto; do
	[ -e "$kernel/lib/modules/$version/kernel/$part" ] || continue
	mkdir -p "root/lib/modules/$version/kernel/$(dirname $part)"
	cp -r "$kernel/lib/modules/$version/kernel/$part" "root/lib/modules/$version/kernel/$(dirname $part)/"
done
cp "$kernel/lib/modules/$version"/modules.{builtin,order} "root/lib/modules/$version/"
busybox depmod -b root "$version"
cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin 2>/dev/null
# There is no udev to wait for.
export PATH=/bin HOME=/tmp DM_DISABLE_UDEV=1
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
for module in virtio_pci virtio_blk dm-mod dm-snapshot dm-thin-pool xfs; do modprobe $module; done
until [ -b /dev/vda ]; do usleep 50000; done
sh -eu /script
echo "status of the script: $?"
poweroff -f
END
chmod +x root/init
(cd root && find . -print0 | cpio -0 -o -H newc --quiet | gzip -1) >initrd
rm -rf root disk
truncate -s 2G disk

# A /dev/kvm that is not the processor's own hangs a stock kernel: it counts only
# if the processor says that it can.
accel=(-accel tcg,thread=multi -cpu max)
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accel=(-accel kvm -cpu host); fi
timeout "${TINYBACKUP_VM_TIMEOUT:-300}" qemu-system-x86_64 "${accel[@]}" -machine q35 -m 1024 -smp 2 \
	-nodefaults -no-user-config -display none -no-reboot -serial stdio \
	-kernel "$kernel/boot/vmlinuz-$version" -initrd initrd -append "console=ttyS0 quiet panic=-1" \
	-drive file=disk,format=raw,if=virtio,cache=unsafe </dev/null | tr -d '\r' | tee console
rm -f disk
grep -qx 'status of the script: 0' console
