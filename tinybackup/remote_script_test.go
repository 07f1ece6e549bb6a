package tinybackup

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/sftp/sftptest"
)

// TestRemoteScript runs the scripts of testdata/remote for each kind of destination on
// another machine. In a script, besides what TestScript has:
//
//	$REMOTE   a destination
//	$FILES    the directory that it is in, over there
//	$SECRET   what must be seen nowhere
func TestRemoteScript(t *testing.T) {
	t.Parallel()
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		server := s3test.Start(t)
		remoteScripts(t, func(e *testscript.Env, name string) {
			e.Setenv("REMOTE", server.Dest(name))
			e.Setenv("FILES", server.Files(name))
			e.Setenv("SECRET", server.Secret)
			e.Setenv("TINYBACKUP_S3_KEYS", server.ID+":"+server.Secret)
		})
	})
	t.Run("sftp", func(t *testing.T) {
		t.Parallel()
		server := sftptest.Start(t)
		remoteScripts(t, func(e *testscript.Env, name string) {
			dir := filepath.Join(server.Dir, name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Error(err)
			}
			e.Setenv("REMOTE", server.URL+"/"+name)
			e.Setenv("FILES", dir)
			e.Setenv("SECRET", "PRIVATE KEY")
			e.Setenv("TINYBACKUP_SSH_IDENTITY", server.Key)
			e.Setenv("TINYBACKUP_KNOWN_HOSTS", server.KnownHosts)
		})
	})
	t.Run("rclone", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("rclone"); err != nil {
			t.Skip("rclone is not installed")
		}
		remoteScripts(t, func(e *testscript.Env, name string) {
			dir, config := filepath.Join(e.WorkDir, "remote"), filepath.Join(e.WorkDir, "home", ".config", "rclone")
			for _, made := range []string{dir, config} {
				if err := os.MkdirAll(made, 0o700); err != nil {
					t.Error(err)
				}
			}
			if err := os.WriteFile(filepath.Join(config, "rclone.conf"), []byte("[local]\ntype = local\n"), 0o600); err != nil {
				t.Error(err)
			}
			e.Setenv("REMOTE", "rclone:local:"+dir)
			e.Setenv("FILES", dir)
		}, "testdata/remote/commands.txt") // a process for each request takes its time
	})
}

// remoteScripts runs the scripts, or only some, with what there says for one of that name.
func remoteScripts(t *testing.T, there func(e *testscript.Env, name string), only ...string) {
	scripts := scriptParams("testdata/remote")
	if scripts.Files = only; len(only) > 0 {
		scripts.Dir = ""
	}
	scripts.Setup = func(e *testscript.Env) error {
		there(e, filepath.Base(e.T().(testing.TB).Name()))
		return setUpScript(e)
	}
	testscript.Run(t, scripts)
}
