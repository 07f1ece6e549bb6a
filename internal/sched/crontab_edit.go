package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// editTries is how often an edit starts over because another program changed the table meanwhile.
const editTries = 5

// edit puts change(table) in the place of the table, or nothing if it changes nothing.
//
// crontab(1) itself locks nothing: twenty that read, append and write at the same time leave three of their twenty lines.
// Our own are kept apart by the lock; others' (an open crontab -e) are noticed by comparing just before and just after.
func (c *Cron) edit(ctx context.Context, change func(text string) string) error {
	unlock, err := lockFile(ctx, c.LockPath, c.LockElse...)
	if err != nil {
		return err
	}
	defer unlock()
	for range editTries {
		before, err := c.table(ctx)
		if err != nil {
			return err
		}
		after := change(before)
		if after == before {
			return nil
		}
		if before != "" {
			if err := writeFile(c.BackupPath, before, 0o600); err != nil {
				return fmt.Errorf("crontab: keep a copy of the table: %w", err)
			}
		}
		if now, err := c.table(ctx); err != nil {
			return err
		} else if now != before {
			continue
		}
		if err := c.write(ctx, after); err != nil {
			return err
		}
		return c.confirm(ctx, before, after)
	}
	return &BackendError{Op: "crontab", Err: fmt.Errorf("another program changed it %d times while it was being edited", editTries), hint: "nothing was written; try again"}
}

// table is the text of the crontab to edit, exactly, or an error if that cannot be had.
//
// Debian's crontab -l prints a carriage return as the two characters \r, so what it prints may stand for either. But it hands its editor
// the file itself; with cat as the editor the bytes come out, and nothing is changed.
func (c *Cron) table(ctx context.Context) (string, error) {
	text, err := c.listed(ctx)
	if err != nil || !strings.Contains(text, `\r`) {
		return text, err
	}
	out, err := c.Runner.run(ctx, Program{Name: "crontab", Args: []string{"-e"}, Env: environment("VISUAL=cat", "EDITOR=cat")})
	if err != nil {
		return "", err
	}
	if out.Code == 0 && (out.Stdout == text || strings.ReplaceAll(out.Stdout, "\r", `\r`) == text) {
		return out.Stdout, nil
	}
	return "", &BackendError{Op: "crontab", Err: errors.New(`it has a carriage return or the characters \r, which "crontab -l" does not tell apart: writing it back could change your lines`),
		hint: "take them out with `crontab -e`, or use --scheduler at or service"}
}

// write installs text as the crontab. An empty one is removed, as one that never was.
func (c *Cron) write(ctx context.Context, text string) error {
	p := Program{Name: "crontab", Args: []string{"-"}, Env: environment(), Stdin: text}
	if text == "" {
		p.Args = []string{"-r"}
	}
	out, err := c.Runner.run(ctx, p)
	if err == nil && out.Code != 0 && text == "" {
		p.Args = []string{"-"} // dcron has -d for -r; all take an empty table
		out, err = c.Runner.run(ctx, p)
	}
	if err != nil {
		return err
	}
	if out.Code != 0 {
		return &BackendError{Op: "crontab", Err: failure(p, out), hint: "the crontab was not changed"}
	}
	return nil
}

// confirm reads the crontab back and compares.
func (c *Cron) confirm(ctx context.Context, before, want string) error {
	got, err := c.table(ctx)
	if err != nil || got == want {
		return err
	}
	mismatch := &BackendError{Op: "crontab", Err: errors.New("what was read back is not what was written"), hint: "look at it with `crontab -l`"}
	if before != "" {
		mismatch.hint += fmt.Sprintf("; the table as it was is in %s", c.BackupPath)
	}
	if header, rest := cutHeader(got); header == "" || rest != want {
		return mismatch
	}
	old, bare := cutHeader(want)
	if old == "" {
		return nil
	}
	// This crontab shows its header, so the table has two now: the one that was read, and the new one before it.
	if err := c.write(ctx, bare); err != nil {
		return err
	}
	if got, err = c.table(ctx); err != nil {
		return err
	}
	if _, rest := cutHeader(got); rest != bare {
		return mismatch
	}
	return nil
}

// writeFile replaces path by a file with text and the mode perm: by a whole one or not at all.
// The lock lets one writer in, so what a killed one left under the other name may go.
func writeFile(path, text string, perm os.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(part, path)
}
