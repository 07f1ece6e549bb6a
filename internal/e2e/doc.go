// Package e2e tests the whole program from outside: the built binary, the real
// at and cron daemons with their time speeded up, real loop devices, and the
// real tar, bsdtar, zstd, xz, gzip and sha256sum reading its archives.
//
// The tests run in a private machine: mount and process
// namespaces of their own, with their own at and cron spools, /etc, /run,
// /var/lib/tinybackup and /var/log/tinybackup. Nothing they do is seen outside,
// and nothing of them is left: the namespaces end with their last process. That
// needs root; without it what needs it is skipped by name.
package e2e
