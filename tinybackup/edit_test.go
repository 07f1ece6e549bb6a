package tinybackup

import (
	"strings"
	"testing"
)

// A job that gets another name keeps its log: that of the new name may be another
// job's.
func TestEditNewName(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, ownFile)
	env, _, _ := memoryEnv(t, &memoryScheduler{name: "cron"})
	env.Dirs = dirs
	e := &editing{env: env, path: j.Path, old: &j}
	p, err := e.plan([]byte(strings.Replace(ownFile, "name = notes", "name = letters", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if p.job.Options.Name != "letters" || p.job.LogFile != j.LogFile || !strings.Contains(string(p.text), "\nlog = "+j.LogFile+"\n") {
		t.Errorf("the log is %s, want %s, of\n%s", p.job.LogFile, j.LogFile, p.text)
	}
	p, err = e.plan([]byte(strings.NewReplacer("name = notes", "name = letters", "\n[options]", "log = /x.log\n\n[options]").Replace(ownFile)))
	if err != nil || p.job.LogFile != "/x.log" {
		t.Errorf("a log that was asked for: got %s, %v", p.job.LogFile, err)
	}
}
