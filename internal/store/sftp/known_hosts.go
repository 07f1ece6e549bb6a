package sftp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownKey is a line of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
type knownKey struct {
	key  ssh.PublicKey
	file string
	line int
}

// knownKeys is what such files say about one server.
type knownKeys struct {
	own         []knownKey
	authorities []knownKey // that may vouch for its keys
	revoked     []knownKey // whoever's they were
	unread      string     // why a line about it says nothing; empty: there is none
}

// known looks a target up in its files. Like ssh(1), it passes over lines that it does not
// understand, and if a server at another port than 22 is not in the files, takes the keys
// that are known of its host.
func (t target) known() (*knownKeys, error) {
	host, port, err := net.SplitHostPort(strings.ToLower(t.keyName))
	if err != nil {
		return nil, err
	}
	names := []string{host}
	if port != "22" {
		names = []string{"[" + host + "]:" + port, host}
	}
	k := &knownKeys{}
	for _, name := range names {
		for _, file := range t.knownHosts {
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return nil, err
			}
			number := 0
			for line := range bytes.Lines(data) {
				number++
				k.add(string(line), name, file, number)
			}
		}
		if len(k.own) > 0 {
			break
		}
	}
	return k, nil
}

// add takes what a line says about a server.
func (k *knownKeys) add(line, name, file string, number int) {
	words := strings.Fields(line)
	if len(words) == 0 || words[0][0] == '#' {
		return
	}
	marker := ""
	if words[0][0] == '@' {
		marker, words = words[0], words[1:]
	}
	named := len(words) > 0 && meansHost(words[0], name)
	if !named && marker != "@revoked" {
		return
	}
	key, err := knownKeyOf(words)
	at := knownKey{key, file, number}
	switch {
	case err != nil && named && k.unread == "":
		k.unread = fmt.Sprintf("%s:%d: %v", file, number, err)
	case err != nil:
	case marker == "":
		k.own = append(k.own, at)
	case marker == "@cert-authority":
		k.authorities = append(k.authorities, at)
	case marker == "@revoked":
		k.revoked = append(k.revoked, at)
	}
}

// knownKeyOf is the key in the words of a line, after its hosts.
func knownKeyOf(words []string) (ssh.PublicKey, error) {
	if len(words) < 3 {
		return nil, errors.New("it has no key")
	}
	blob, err := base64.StdEncoding.DecodeString(words[2])
	if err != nil {
		return nil, err
	}
	return ssh.ParsePublicKey(blob)
}

// meansHost says whether a name is meant by the first field of a line: patterns, or a hash.
func meansHost(field, name string) bool {
	hashed, ok := strings.CutPrefix(field, "|1|")
	if !ok {
		return matchAny(strings.Split(field, ","), name)
	}
	salt, sum, _ := strings.Cut(hashed, "|")
	key, err := base64.StdEncoding.DecodeString(salt)
	want, serr := base64.StdEncoding.DecodeString(sum)
	if err != nil || serr != nil {
		return false
	}
	mac := hmac.New(sha1.New, key)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), want)
}

// find returns the one of these that is a key, nil if there is none.
func find(keys []knownKey, key ssh.PublicKey) *knownKey {
	i := slices.IndexFunc(keys, func(k knownKey) bool { return bytes.Equal(k.key.Marshal(), key.Marshal()) })
	if i < 0 {
		return nil
	}
	return &keys[i]
}
