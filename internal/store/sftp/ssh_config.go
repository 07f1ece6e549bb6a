package sftp

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// settings are what files of ssh_config(5) say about one host. They are read in the order in
// which ssh(1) reads them, and of most keywords the first value counts.
type settings struct {
	host string // as it was asked for
	me   string // who runs this
	home string

	said  map[string][]string // the values of a keyword, in lower case
	final bool                // it is the second reading, for blocks of Match final
	again bool                // there are such blocks
}

// includeDepth is how deep files may include each other, as with ssh.
const includeDepth = 16

// readSettings reads the files about a host.
func readSettings(a address, me, home string) (*settings, error) {
	s := &settings{host: a.host, me: me, home: home, said: map[string][]string{}}
	if a.user != "" {
		s.said["user"] = []string{a.user}
	}
	if a.port != "" {
		s.said["port"] = []string{a.port}
	}
	for {
		for _, name := range []string{filepath.Join(home, ".ssh", "config"), "/etc/ssh/ssh_config"} {
			if err := s.read(name, filepath.Dir(name), 0); err != nil {
				return nil, err
			}
		}
		if !s.again || s.final {
			return s, nil
		}
		s.final = true
	}
}

// first is the first value of a keyword; empty: nothing is said.
func (s *settings) first(key string) string {
	if v := s.said[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// values are all values of a keyword; if nothing is said, these.
func (s *settings) values(key string, otherwise ...string) []string {
	if v := s.said[key]; v != nil {
		return slices.Clone(v)
	}
	return otherwise
}

// hostName is where the host is, by what was read so far.
func (s *settings) hostName() string {
	return strings.NewReplacer("%%", "%", "%h", s.host).Replace(or(s.first("hostname"), s.host))
}

// read reads one file, if it exists. Names in it are relative to dir.
func (s *settings) read(name, dir string, depth int) error {
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), depth > 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EISDIR)):
		return nil // as ssh does
	case err != nil:
		return err
	}
	active := true
	for line := range bytes.Lines(data) {
		key, args := configLine(string(line))
		switch key {
		case "":
		case "host":
			active = matchAny(args, s.host)
		case "match":
			active = s.matches(args)
		case "include":
			if !active {
				continue
			}
			if depth == includeDepth {
				return errors.New(name + ": too many files include each other")
			}
			if err := s.include(args, dir, depth); err != nil {
				return err
			}
		default:
			if active && len(args) > 0 {
				s.set(key, args)
			}
		}
	}
	return nil
}

func (s *settings) include(patterns []string, dir string, depth int) error {
	for _, pattern := range patterns {
		if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
			pattern = filepath.Join(s.home, rest)
		} else if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := s.read(name, dir, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// set says something that was not said before. Of files with keys, all that are named count;
// of a ProxyJump and a ProxyCommand, the one that comes first.
func (s *settings) set(key string, args []string) {
	const jump, command = "proxyjump", "proxycommand"
	switch {
	case key == "identityfile":
		if !slices.Contains(s.said[key], args[0]) {
			s.said[key] = append(s.said[key], args[0])
		}
	case s.said[key] != nil:
	case key == jump && s.said[command] != nil, key == command && s.said[jump] != nil:
	default:
		s.said[key] = args
	}
}

// matches says whether all criteria of a Match line are met. Those that would ask a program
// or the network are not: nobody finds out what they stand for.
func (s *settings) matches(args []string) bool {
	met := len(args) > 0
	for met && len(args) > 0 {
		criterion, arg, hasArg := strings.Cut(args[0], "=")
		args = args[1:]
		criterion, negated := strings.CutPrefix(strings.ToLower(criterion), "!")
		switch criterion {
		case "all":
			met = true
		case "final", "canonical":
			met = s.final
			s.again = s.again || criterion == "final"
		default:
			if !hasArg {
				if len(args) == 0 {
					return false
				}
				arg, args = args[0], args[1:]
			}
			patterns := strings.Split(arg, ",")
			switch criterion {
			case "host":
				met = matchAny(patterns, s.hostName())
			case "originalhost":
				met = matchAny(patterns, s.host)
			case "user":
				met = matchAny(patterns, or(s.first("user"), s.me))
			case "localuser":
				met = matchAny(patterns, s.me)
			default:
				return false
			}
		}
		met = met != negated
	}
	return met
}

// configLine takes a line apart: its keyword in lower case, and what follows, in which quotes
// keep words together and a # begins a comment.
func configLine(line string) (key string, args []string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t=")
	if end < 0 || line[0] == '#' {
		return "", nil
	}
	key, line = strings.ToLower(line[:end]), strings.TrimLeft(line[end:], " \t")
	line = strings.TrimPrefix(line, "=")
	var word []byte
	var quote byte
	inWord := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		next := byte(0)
		if i+1 < len(line) {
			next = line[i+1]
		}
		switch {
		case c == '\\' && (next == '"' || next == '\'' || next == '\\' || next == ' ' && quote == 0):
			word, inWord = append(word, next), true
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				args = append(args, string(word))
			}
			word, inWord = nil, false
		case quote == 0 && !inWord && c == '#':
			return key, args
		default:
			word, inWord = append(word, c), true
		}
	}
	if inWord {
		args = append(args, string(word))
	}
	return key, args
}

// matchAny says whether a name is meant by a list of patterns (PATTERNS in ssh_config(5)): by
// one of them, and by none with a ! before it.
func matchAny(patterns []string, name string) bool {
	found := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(strings.ToLower(pattern), strings.ToLower(name)) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchPattern says whether a pattern with * and ? is all of a name.
func matchPattern(pattern, name string) bool {
	back, mark := -1, 0 // where to go on if what follows the last * does not match
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			back, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case back >= 0:
			mark++
			p, n = back+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
