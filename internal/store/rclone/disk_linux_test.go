package rclone

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// TestFullDisk has rclone see a small file system, in a mount namespace that nobody else sees.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	opt := local(t)
	dir := t.TempDir()
	holder := exec.Command("unshare", "-m", "--propagation", "private",
		"sh", "-c", "mount -t tmpfs -o size=2m tmpfs "+dir+" && echo mounted && exec cat") // until its input ends
	input, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	holder.Stderr = &said
	if err := holder.Start(); err != nil {
		t.Skipf("there is no unshare: %v", err)
	}
	t.Cleanup(func() {
		input.Close()
		holder.Wait()
	})
	if line, _ := bufio.NewReader(output).ReadString('\n'); line != "mounted\n" {
		t.Skipf("mount namespaces need root: %s", said.String())
	}
	opt.Program = filepath.Join(t.TempDir(), "rclone")
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter -m -t %d rclone \"$@\"\n", holder.Process.Pid)
	if err := os.WriteFile(opt.Program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}

	d := open(t, dir, opt)
	ctx := t.Context()
	st := store.NewRemote(d)
	storetest.Put(t, st, "old", []byte("old"))
	before, err := st.Free(ctx)
	if err != nil || before > 2<<20 || before < 1<<20 {
		t.Errorf("Free: got %d, %v; want most of 2 MiB", before, err)
	}
	p, err := st.Create(ctx, "new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Write(storetest.Random(1, 5<<20)); err == nil {
		err = p.Commit()
	}
	wantIs(t, "writing to a full disk", err, syscall.ENOSPC)
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "rclone about") {
		t.Errorf("a full disk: got no hint of it: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantIs(t, "WriteSide to a full disk", st.WriteSide(ctx, "big", make([]byte, 3<<20)), syscall.ENOSPC)
	if after, err := st.Free(ctx); err != nil || after < before-64<<10 {
		t.Errorf("Free after Close: got %d, %v; want as before, %d", after, err, before)
	}
	if data, _, err := d.Get(ctx, "old", -1); err != nil || string(data) != "old" {
		t.Errorf("old: got %q, %v", data, err)
	}
	if _, _, err := d.Get(ctx, "new", -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("new: got %v, want none", err)
	}
	wantFiles(t, filepath.Join("/proc", fmt.Sprint(holder.Process.Pid), "root", dir), "old")
}
