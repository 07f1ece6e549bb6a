package tinybackup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tinybackup/internal/sched"
)

// playSystemd gives the scripts' systemd its unit files below $HOME/spool, and a
// machine that was booted with it if $TB_DAEMONS names it.
func playSystemd(s *sched.Systemd) {
	s.UnitDir, s.StampDir, s.LockPath, s.Root = spool("units"), spool("root"), spool("systemd.lock"), spool("root")
	booted := filepath.Join(s.Root, "run/systemd/system")
	if !strings.Contains(os.Getenv("TB_DAEMONS"), "systemd") {
		_ = os.RemoveAll(booted)
		return
	}
	if err := os.MkdirAll(booted, 0o700); err != nil {
		panic(err)
	}
}

// scriptSystemctl does what systemctl does with the commands that sched gives it.
// What it knows of a unit are the files spool/systemctl/UNIT.loaded, .enabled and
// .active.
func scriptSystemctl() {
	args := slices.DeleteFunc(os.Args[1:], func(arg string) bool { return strings.HasPrefix(arg, "--no-") || arg == "--user" })
	known := func(unit, what string) string { return spool("systemctl", unit+"."+what) }
	file := func(unit string) string { return spool("units", unit) }
	if err := os.MkdirAll(spool("systemctl"), 0o700); err != nil {
		die("%v", err)
	}
	command, units := args[0], args[1:]
	if command == "daemon-reload" {
		old, _ := filepath.Glob(known("*", "loaded"))
		for _, path := range old {
			_ = os.Remove(path)
		}
		files, _ := filepath.Glob(file("*.*"))
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(known(filepath.Base(path), "loaded"), text, 0o600)
			}
			if err != nil {
				die("%v", err)
			}
		}
		return
	}
	if command == "show" && args[1] == "--property=Version" {
		fmt.Println("Version=252 (252.38-1~deb12u1)")
		return
	}
	for _, unit := range slices.DeleteFunc(units, func(arg string) bool { return strings.HasPrefix(arg, "--") }) {
		switch command {
		case "show":
			scriptShow(unit, known, file)
		case "enable":
			if !exists(file(unit)) {
				die("Failed to enable unit: Unit file %s does not exist.", unit)
			}
			touch(known(unit, "enabled"))
			fmt.Fprintf(os.Stderr, "Created symlink /etc/systemd/system/timers.target.wants/%s.\n", unit)
		case "restart":
			if !exists(known(unit, "loaded")) || exists(spool("systemctl.fails")) {
				die("Failed to restart %s: Unit %s not found.", unit, unit)
			}
			touch(known(unit, "active"))
		case "disable":
			_ = os.Remove(known(unit, "enabled"))
		case "stop":
			_ = os.Remove(known(unit, "active"))
		}
	}
}

// scriptShow prints the properties of a unit.
func scriptShow(unit string, known func(unit, what string) string, file func(string) string) {
	load, active, enabled, stale, next := "not-found", "inactive", "disabled", "no", ""
	if loaded, err := os.ReadFile(known(unit, "loaded")); err == nil {
		load = "loaded"
		if now, _ := os.ReadFile(file(unit)); string(now) != string(loaded) {
			stale = "yes"
		}
	}
	if exists(known(unit, "enabled")) {
		enabled = "enabled"
	}
	if exists(known(unit, "active")) {
		active, next = "active", "Sun 2026-11-22 02:30:00 UTC"
	}
	fmt.Printf("Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=%s\nNextElapseUSecRealtime=%s\n\n", unit, load, active, enabled, stale, next)
}

func touch(path string) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		die("%v", err)
	}
}
