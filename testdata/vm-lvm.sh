# Snapshots of logical volumes, for real: testdata/vm.sh runs this in a virtual
# machine. Each case prints its name when it holds; the first that does not ends it.
trap '[ $? = 0 ] || { echo "FAILED: $what"; cat /tmp/out /tmp/err; lvs; } 2>/dev/null' EXIT

export TINYBACKUP_DIR=/tmp/tb
what=setup
ok() { echo "ok  $what ($(cut -d' ' -f1 /proc/uptime) s)"; }
fail() { echo "$*" >>/tmp/err; exit 1; }
backup() { # STATUS ARGUMENTS: run, with that exit status
	want=$1 got=0
	shift
	tinybackup run "$@" >/tmp/out 2>/tmp/err || got=$?
	[ $got = "$want" ] || fail "exit status $got, want $want"
}
said() { grep -q "$1" /tmp/out /tmp/err || fail "it does not say: $1"; }
clean() { # nothing is left of a snapshot, or of a mount
	left=$(lvs --noheadings -o lv_name @tinybackup 2>/dev/null)
	[ -z "$left" ] || fail "left: $left"
	! grep -q tinybackup_ /proc/mounts || fail "left mounted"
}
unpack() { # DEST: the newest archive, by busybox' tar, into /tmp/back
	rm -rf /tmp/back
	mkdir /tmp/back
	tar -xzf "$(ls "$1"/*.gz | tail -1)" -C /tmp/back
}
middle() { # DEST ARGUMENTS: start a backup, and stop it while it reads
	dest=$1
	shift
	tinybackup run "$@" >/tmp/out 2>/tmp/err &
	pid=$!
	until ls "$dest"/.tinybackup/*.partial >/dev/null 2>&1; do
		kill -0 $pid || fail 'it is over'
		usleep 20000
	done
	kill -STOP $pid
}
# Two files, the first and the last that are read, get the same number, one after
# the other, all the time. At any moment the first has that of the last, or the next.
write() { (
	n=1000
	while :; do
		n=$((n + 1))
		for file in a z; do # by rename: no half of a number is ever to be seen
			echo $n >"$1/new"
			mv "$1/new" "$1/$file"
		done
	done
) & writer=$!; }
quiet() { # end the writer
	kill $writer
	wait $writer || true
}
moment() { # DIRECTORY: what write left in it is of one moment
	a=$(cat "$1/a") z=$(cat "$1/z")
	[ $((a - z)) = 0 ] || [ $((a - z)) = 1 ] || fail "the first file has $a, the last one $z: that is not one moment"
}

pvcreate -q /dev/vda
vgcreate -q vg0 /dev/vda
lvcreate -q -y -L 300M -n my-root vg0
mkfs.ext4 -q /dev/vg0/my-root
mkdir -p /mnt/root /mnt/xfs /mnt/thin /dest
mount /dev/vg0/my-root /mnt/root
mkdir /mnt/root/etc /mnt/root/srv
echo hello >/mnt/root/etc/motd
for i in 1 2 3 4 5 6; do dd if=/dev/urandom of=/mnt/root/srv/noise$i bs=1M count=1 2>/dev/null; done
ok

what='a directory under a writer: one moment'
mkdir /dest/dir
write /mnt/root/srv
backup 0 --snapshot lvm --compress gzip:1 /mnt/root/srv /dest/dir
said 'LVM snapshot of vg0/my-root, with .* for changes'
clean
unpack /dest/dir
moment /tmp/back/srv
cmp /mnt/root/srv/noise6 /tmp/back/srv/noise6
ok

what='the second backup stores what has changed, and no more'
backup 0 --snapshot lvm --compress gzip:1 --json /mnt/root/srv /dest/dir
reused=$(sed -n 's/.*"reused": *\([0-9]*\).*/\1/p' /tmp/out) written=$(sed -n 's/.*"written": *\([0-9]*\).*/\1/p' /tmp/out)
[ "$reused" -gt $((written / 2)) ] || fail "reused $reused of $written bytes"
unpack /dest/dir
moment /tmp/back/srv
clean
quiet
ok

what='the root file system itself, from within, and another one below it'
mkdir -p /mnt/root/bin /mnt/root/lib64 /mnt/root/tmp /mnt/root/proc /mnt/root/sys /mnt/root/dev /mnt/root/boot /mnt/root/dest /mnt/root/run
cp -a /bin/busybox /bin/lvm /bin/sh /bin/tinybackup /mnt/root/bin/
cp -a /lib /lib64 /usr /mnt/root/ 2>/dev/null || true
rm -rf /mnt/root/lib/modules
for dir in proc sys dev run dest; do mount --bind /$dir /mnt/root/$dir; done
mount -t tmpfs none /mnt/root/boot
echo kernel >/mnt/root/boot/vmlinuz
mkdir /dest/root
write /mnt/root/srv
chroot /mnt/root /bin/tinybackup run --snapshot lvm --compress gzip:1 --exclude /proc --exclude /sys --exclude /dev --exclude /run --exclude /dest / /dest/root >/tmp/out 2>/tmp/err
quiet
clean
unpack /dest/root
moment /tmp/back/root/srv
[ "$(cat /tmp/back/root/etc/motd)" = hello ]
[ "$(cat /tmp/back/root/boot/vmlinuz)" = kernel ] || fail 'what is mounted below is missing'
for dir in boot proc sys dev run dest; do umount /mnt/root/$dir; done
ok

what='kill -9 leaves a snapshot and no mount; the next run removes it'
middle /dest/dir --snapshot lvm --compress xz:9 --reread /mnt/root/srv /dest/dir
kill -9 $pid
wait $pid || true
[ -n "$(lvs --noheadings @tinybackup)" ] || fail 'it was over too soon'
! grep -q tinybackup_ /proc/mounts || fail 'left mounted'
backup 0 --snapshot lvm --compress gzip:1 /mnt/root/srv /dest/dir
clean
ok

what='a run that is going on keeps its snapshot'
middle /dest/dir --snapshot lvm --compress gzip:1 --reread /mnt/root/srv /dest/dir
mkdir /dest/other
backup 0 --snapshot lvm --name other /mnt/root/etc /dest/other
[ "$(lvs --noheadings @tinybackup | wc -l)" = 1 ] || fail 'the snapshot of another run is gone'
kill -CONT $pid
wait $pid
clean
ok

what='a signal leaves nothing'
middle /dest/dir --snapshot lvm --compress xz:9 --reread /mnt/root/srv /dest/dir
kill -TERM $pid
kill -CONT $pid
got=0
wait $pid || got=$?
[ $got = 143 ] || fail "exit status $got"
clean
ok

what='a snapshot that was full is no backup'
before=$(ls /dest/dir/*.gz)
middle /dest/dir --snapshot lvm --snapshot-size 8MiB --keep 1 --compress xz:9 --reread /mnt/root/srv /dest/dir
dd if=/dev/urandom of=/mnt/root/srv/noise1 bs=1M count=20 conv=notrunc 2>/dev/null
sync
kill -CONT $pid
got=0
wait $pid || got=$?
[ $got = 1 ] || fail "exit status $got, want 1"
said 'was full, and is worthless: 8.0 MiB was too little'
said 'hint: .*--snapshot-size'
[ "$(ls /dest/dir/*.*z)" = "$before" ] || fail 'the archives have changed'
clean
ok

what='a volume as a device: refused, or from a snapshot without its free blocks'
mkdir /dest/img
backup 1 /dev/vg0/my-root /dest/img
said 'in use'
said '\--snapshot'
write /mnt/root/srv
backup 0 --dry-run --snapshot lvm /dev/vg0/my-root /dest/img
backup 0 --snapshot lvm --compress gzip:1 /dev/vg0/my-root /dest/img
said 'are free and not read'
quiet
clean
gzip -dc /dest/img/my-root-*.img.gz >/tmp/img
e2fsck -fn /tmp/img >/tmp/out 2>&1
rm /tmp/img
ok

what='no room for a snapshot'
free=$(vgs --noheadings -o vg_free_count vg0)
lvcreate -q -y -l $free -n filler vg0
backup 1 --snapshot lvm /mnt/root/etc /dest/other
said 'no free space'
backup 0 --snapshot auto /mnt/root/etc /dest/other
said 'no snapshot: .*no free space'
lvremove -q -y vg0/filler
ok

what='auto where there is no volume, and lvm where there is none'
mkdir /tmp/plain /dest/plain
echo 1 >/tmp/plain/file
backup 0 --snapshot auto /tmp/plain /dest/plain
said 'no snapshot: '
backup 1 --snapshot lvm /tmp/plain /dest/plain
said 'is no logical volume'
ok

what='XFS'
lvcreate -q -y -L 320M -n xfs vg0
mkfs.xfs -q /dev/vg0/xfs
mount /dev/vg0/xfs /mnt/xfs
dd if=/dev/urandom of=/mnt/xfs/noise bs=1M count=8 2>/dev/null
mkdir /dest/xfs
write /mnt/xfs
backup 0 --snapshot lvm --compress gzip:1 /mnt/xfs /dest/xfs
quiet
clean
unpack /dest/xfs
moment /tmp/back/xfs
cmp /mnt/xfs/noise /tmp/back/xfs/noise
ok

what='a thin volume'
lvcreate -q -y --type thin-pool -L 200M -n pool vg0 2>/dev/null
lvcreate -q -y -V 150M -n thin --thinpool pool vg0 2>/dev/null
mkfs.ext4 -q /dev/vg0/thin
mount /dev/vg0/thin /mnt/thin
dd if=/dev/urandom of=/mnt/thin/noise bs=1M count=8 2>/dev/null
mkdir /dest/thin
write /mnt/thin
backup 0 --snapshot auto --compress gzip:1 /mnt/thin /dest/thin
said 'LVM snapshot of vg0/thin, in its thin pool: .* % used'
quiet
clean
unpack /dest/thin
moment /tmp/back/thin
cmp /mnt/thin/noise /tmp/back/thin/noise
ok
