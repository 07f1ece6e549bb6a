#!/bin/bash
# testdata/vm-card.sh PROGRAM
# Backs up a card as that of a Raspberry Pi (a FAT with kernel and initramfs, an ext4
# with a small Linux), restores it with PROGRAM onto another, larger one that holds
# something else, and boots that in a virtual machine: with the kernel that is read
# from its FAT, as the firmware of a Pi does it, and its ext4 as root. What was deleted
# on the first card is not on the second. A restore that was killed does not boot.
#
# It needs root, for loop devices, and what testdata/vm.sh needs but for lvm2, besides
#   apt-get install --no-install-recommends dosfstools mtools
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
kernel=$("$here/vm-kernel.sh")
version=$(ls "$kernel/lib/modules")
work=$(mktemp -d)
loops=()
clean() {
	umount "$work/mnt" 2>/dev/null || true
	for l in ${loops[@]+"${loops[@]}"}; do losetup -d "$l"; done
	rm -rf "$work"
}
trap clean EXIT
cd "$work"
mkdir root card mnt dest
export TINYBACKUP_DIR=$work/tb

ok() { echo "ok  $* (${SECONDS} s)"; }
attach() { # FILE: on a loop device, whose name is in $loop
	loop=$(losetup -f --show "$1")
	loops+=("$loop")
}

# The initramfs: it finds the card's second partition, and goes on there.
mkdir -p root/{bin,dev,proc,new} "root/lib/modules/$version"
cp "$(command -v busybox)" root/bin/
for part in drivers/virtio drivers/block/virtio_blk.ko; do
	mkdir -p "root/lib/modules/$version/kernel/$(dirname $part)"
	cp -r "$kernel/lib/modules/$version/kernel/$part" "root/lib/modules/$version/kernel/$(dirname $part)/"
done
cp "$kernel/lib/modules/$version"/modules.{builtin,order} "root/lib/modules/$version/"
busybox depmod -b root "$version"
cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /sbin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs none /dev
mount -t proc none /proc
modprobe virtio_pci
modprobe virtio_blk
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ -b /dev/vda2 ] && break
	sleep 0.2
done
mount -o ro /dev/vda2 /new || poweroff -f
exec switch_root -c /dev/console /new /sbin/init
END
chmod +x root/init
(cd root && find . -print0 | cpio -0 -o -H newc --quiet | gzip -1) >initrd

# The card: 64 MiB of FAT, 192 of ext4, behind each other as an imager makes it.
truncate -s 261M card.img
entry() { # TYPE FROM SIZE: of an MBR, in MiB
	printf '\0\0\0\0%b\0\0\0' "\\x$1"
	for n in $(($2 * 2048)) $(($3 * 2048)); do
		printf '%b' "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24)))"
	done
}
{ entry c 4 64; entry 83 68 192; } | dd of=card.img bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of=card.img bs=1 seek=510 conv=notrunc status=none
truncate -s 64M fat.img
mkfs.fat -F 32 -s 1 fat.img >fat.log
head -c 20M /dev/urandom >noise
mcopy -i fat.img noise ::/
mcopy -i fat.img "$kernel/boot/vmlinuz-$version" ::/kernel.img
mdel -i fat.img ::/noise
mcopy -i fat.img initrd ::/initrd
dd if=fat.img of=card.img bs=1M seek=4 conv=notrunc status=none
truncate -s 192M ext.img
mkfs.ext4 -q ext.img
attach ext.img
mount "$loop" mnt
mkdir -p mnt/{bin,sbin,dev,proc,data}
cp "$(command -v busybox)" mnt/bin/
for i in 1 2 3 4 5 6 7 8; do
	head -c "$((i * 300000))" /dev/urandom >"mnt/data/$i"
	[ $i -gt 5 ] || cp noise "mnt/data/gone.$i"
done
sync -f mnt
rm mnt/data/gone.*
(cd mnt && find data -type f -print0 | xargs -0 sha256sum >sums)
token="this is the restored card, $RANDOM$RANDOM"
echo "$token" >mnt/token
cat >mnt/sbin/init <<'END'
#!/bin/busybox sh
mount() { busybox mount "$@"; }
mount -t devtmpfs none /dev 2>/dev/null
mount -t proc none /proc
mount -o remount,rw / && echo written >/new && busybox sync
busybox sha256sum -c /sums >/dev/null && busybox cat /token
busybox poweroff -f
END
chmod +x mnt/sbin/init
# Somebody else may have a copy of the mount for a moment, and with it the disk.
umount mnt
until e2fsck -fn "$loop" >fsck.log 2>&1; do sleep 0.2; done
dd if=ext.img of=card.img bs=1M seek=68 conv=notrunc status=none
ok "a card of $(stat -c %s card.img) bytes"

attach card.img
card=$loop
"$program" run --bmap --name card "$card" dest
ok "backed up"
head -c 300M /dev/urandom >other.img
attach other.img
other=$loop

boot() { # FILE: boot it as a Pi does, if it has a partition table; what it prints is in ./console
	[ "$(od -An -tx1 -j510 -N2 "$1")" = " 55 aa" ] || return 1
	mcopy -n -o -i "$1@@4M" ::/kernel.img ::/initrd . 2>/dev/null || return 1
	timeout 120 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -m 512 \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel kernel.img -initrd initrd -append "console=ttyS0 quiet panic=-1 no_timer_check" \
		-drive "file=$1,format=raw,if=virtio,cache=unsafe" </dev/null | tr -d '\r' >console
}

# Killed in the middle, it is no card: nothing to boot, no partition, no file system.
"$program" restore --yes dest "$other" &
pid=$!
until cmp -s -n 4096 other.img /dev/zero; do
	kill -0 $pid 2>/dev/null || { echo "it ended before it could be killed"; exit 1; }
done
kill -9 $pid
wait $pid 2>/dev/null || true
if boot other.img; then echo "a card that is not complete boots"; exit 1; fi
cmp -s -n 1048576 other.img /dev/zero || { echo "a card that is not complete has a beginning"; exit 1; }
ok "killed, it is no card"

"$program" restore --yes dest "$other"
ok "restored"
boot other.img
grep -qx "$token" console || { cat console; echo "it does not boot"; exit 1; }
ok "booted: $token"
e2fsck -fn "other.img?offset=$((68 << 20))" >fsck.log 2>&1 || { cat fsck.log; exit 1; }
ok "its file system is in order, after it was written to"
