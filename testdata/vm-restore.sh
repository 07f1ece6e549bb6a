# Restores onto a disk whose partitions the kernel knows: testdata/vm.sh runs this in a
# virtual machine. Each case prints its name when it holds; the first that does not
# ends it.
trap '[ $? = 0 ] || { echo "FAILED: $what"; cat /tmp/out; cat /proc/partitions; }' EXIT

export TINYBACKUP_DIR=/tmp/tb
disk=/dev/vda
ok() { echo "ok  $what ($(cut -d' ' -f1 /proc/uptime) s)"; }
restore() { # STATUS ARGUMENTS: with that exit status
	want=$1 got=0
	shift
	tinybackup restore --yes "$@" >/tmp/out 2>&1 || got=$?
	[ $got = "$want" ] || { echo "exit status $got, want $want"; exit 1; }
}
said() { tr '\n' ' ' </tmp/out | grep -q "$1" || { echo "it does not say: $1"; exit 1; }; }
number() { # of 32 bits, as an MBR has it
	printf "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)))"
}
entry() { # FROM SIZE in MiB, of an MBR
	printf '\0\0\0\0\203\0\0\0'
	number $(($1 * 2048))
	number $(($2 * 2048))
}

what='an image with two partitions'
mkdir -p /tmp/dest /tmp/parts /mnt/a
truncate -s 16M /tmp/ext
mkfs.ext4 -q /tmp/ext
truncate -s 40M /tmp/card.img
{ entry 1 16; entry 20 18; } | dd of=/tmp/card.img bs=1 seek=446 conv=notrunc 2>/dev/null
printf '\125\252' | dd of=/tmp/card.img bs=1 seek=510 conv=notrunc 2>/dev/null
dd if=/tmp/ext of=/tmp/card.img bs=1M seek=1 conv=notrunc 2>/dev/null
tinybackup run --name card /tmp/card.img /tmp/dest >/tmp/out 2>&1
tinybackup run --name part /tmp/ext /tmp/parts >/tmp/out 2>&1
ok

what='the kernel knows the new partitions'
restore 0 --name card /tmp/dest $disk
said 'read back and compared'
[ "$(grep -c note: /tmp/out)" = 0 ]
[ -b ${disk}1 ] && [ -b ${disk}2 ]
mount ${disk}1 /mnt/a
ok

what='a mounted partition'
restore 1 --name card /tmp/dest $disk
said "is mounted at /mnt/a"
restore 1 /tmp/parts ${disk}1
said "is mounted at /mnt/a"
ok

what='another partition of that disk'
restore 0 /tmp/parts ${disk}2
said "onto ${disk}2"
cmp /tmp/ext ${disk}2 2>&1 | grep -q 'EOF on /tmp/ext'
mount | grep -q "${disk}1 on /mnt/a"
umount /mnt/a
ok

what='swap on a partition'
mkswap ${disk}2 >/dev/null
swapon ${disk}2
restore 1 --name card /tmp/dest $disk
said "has swap in ${disk}2"
swapoff ${disk}2
ok

what='a volume group on a partition'
pvcreate -q -y -ff ${disk}2 >/dev/null 2>&1
vgcreate -q group ${disk}2 >/dev/null 2>&1
lvcreate -q -y -Zn -L 8M -n home group >/dev/null 2>&1
restore 1 --name card /tmp/dest $disk
said "is a part of dm-0 (group-home)"
lvchange -an group >/dev/null 2>&1
ok

what='a volume group that nobody uses is overwritten'
restore 0 --name card /tmp/dest $disk
cmp /tmp/card.img $disk 2>&1 | grep -q 'EOF on /tmp/card.img'
if dd if=${disk}2 bs=512 skip=1 count=1 2>/dev/null | grep -q LABELONE; then exit 1; fi
ok
