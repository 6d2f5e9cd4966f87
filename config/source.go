package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Limits that keep a hostile or mistaken text from taking the machine's memory.
const (
	maxFileSize  = 64 << 20  // bytes of one file
	maxTotalSize = 128 << 20 // bytes of all files together
	maxLine      = 64 << 10  // bytes of one line
	maxFiles     = 4096
	maxDepth     = 32       // nested includes
	maxExpanded  = 32 << 20 // bytes that expansion may add in all
	expandedLine = 64       // bytes that a produced line costs beside its text
	maxNesting   = 100      // expansions that may produce one another
)

// Source is where the text of a configuration comes from: files now, a
// replicated or a cached version later. Names inside a source are slash paths;
// relative ones are relative to the directory of the main file.
type Source interface {
	// Main is the name of the first file.
	Main() string
	// Read gives the content of a file named by Main or Glob.
	Read(name string) ([]byte, error)
	// Glob gives the sorted names that match a pattern; dir is the directory of
	// the including file. Without a match it gives none.
	Glob(dir, pattern string) ([]string, error)
}

// Bundle is one version of a configuration as a value: the main file and all
// files it includes, by slash path relative to the main file's directory
// (absolute where the include was elsewhere). It is a Source of its own.
type Bundle struct {
	Name  string       `json:"name"`          // base name of the main file
	Dir   string       `json:"dir,omitempty"` // where the main file was; absolute includes below it are found too
	Files []BundleFile `json:"files"`
}

// BundleFile is one file of a bundle.
type BundleFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Main gives the name of the main file.
func (b Bundle) Main() string { return b.Name }

// Read gives the text of one file of the bundle.
func (b Bundle) Read(name string) ([]byte, error) {
	i := slices.IndexFunc(b.Files, func(f BundleFile) bool { return f.Path == name })
	if i < 0 {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return []byte(b.Files[i].Text), nil
}

// Glob matches the names of the bundle's files.
func (b Bundle) Glob(dir, pattern string) ([]string, error) {
	if !path.IsAbs(pattern) {
		pattern = path.Join(dir, pattern)
	} else if below, ok := strings.CutPrefix(pattern, strings.TrimSuffix(b.Dir, "/")+"/"); ok && b.Dir != "" {
		pattern = below
	}
	var names []string
	for _, p := range expandBraces(pattern) {
		for _, f := range b.Files {
			ok, err := path.Match(path.Clean(p), f.Path)
			if err != nil {
				return nil, err
			}
			if ok && !slices.Contains(names, f.Path) {
				names = append(names, f.Path)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

type fileSource struct{ main string }

// File is the source that reads a path of this machine and what it includes.
// Nothing is opened before Load.
func File(path string) Source { return fileSource{path} }

func (f fileSource) Main() string { return f.main }

func (f fileSource) Read(name string) ([]byte, error) {
	return readRegular(name)
}

// dirOf gives the absolute directory of a file of the source.
func (b Bundle) dirOf(name string) string {
	if path.IsAbs(name) || b.Dir == "" {
		return path.Dir(name)
	}
	return path.Join(b.Dir, path.Dir(name))
}

func (f fileSource) dirOf(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return filepath.Dir(abs)
	}
	return filepath.Dir(name)
}

// ErrNotText is returned for what cannot be a configuration: a directory, a
// device, a binary file, or one that is too large.
var ErrNotText = errors.New("not a configuration text")

// readRegular reads a regular file or a pipe up to maxFileSize.
func readRegular(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	switch {
	case st.IsDir():
		return nil, fmt.Errorf("%s is a directory: %w", name, ErrNotText)
	case st.Mode()&(fs.ModeDevice|fs.ModeCharDevice|fs.ModeSocket) != 0 && name != os.DevNull:
		return nil, fmt.Errorf("%s is a %s: %w", name, deviceWord(st.Mode()), ErrNotText)
	case st.Mode().IsRegular() && st.Mode()&0o111 != 0:
		return nil, fmt.Errorf("%s is executable: %w", name, ErrNotText)
	case st.Size() > maxFileSize:
		return nil, fmt.Errorf("%s has %d bytes, more than %d: %w", name, st.Size(), maxFileSize, ErrNotText)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	buf.Grow(int(st.Size()) + bytes.MinRead)
	if _, err := io.Copy(&buf, io.LimitReader(f, maxFileSize+1)); err != nil {
		return nil, err
	}
	if buf.Len() > maxFileSize {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", name, maxFileSize, ErrNotText)
	}
	return buf.Bytes(), nil
}

func deviceWord(m fs.FileMode) string {
	if m&fs.ModeSocket != 0 {
		return "socket"
	}
	return "device"
}

func (f fileSource) Glob(dir, pattern string) ([]string, error) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	var names []string
	for _, p := range expandBraces(pattern) {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		slices.Sort(found)
		for _, n := range found {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// expandBraces expands {a,b} alternatives as GLOB_BRACE does, up to 256 of them.
func expandBraces(pattern string) []string {
	out := []string{pattern}
	for i := 0; i < len(out) && len(out) <= 256; {
		open := strings.IndexByte(out[i], '{')
		if open < 0 {
			i++
			continue
		}
		depth, end := 0, -1
		cuts := []int{open}
		for j := open; j < len(out[i]) && end < 0; j++ {
			switch out[i][j] {
			case '{':
				depth++
			case '}':
				if depth--; depth == 0 {
					end = j
				}
			case ',':
				if depth == 1 {
					cuts = append(cuts, j)
				}
			}
		}
		if end < 0 || end == open+1 {
			i++
			continue
		}
		cuts = append(cuts, end)
		var alts []string
		for k := 0; k+1 < len(cuts); k++ {
			alts = append(alts, out[i][:open]+out[i][cuts[k]+1:cuts[k+1]]+out[i][end+1:])
		}
		out = slices.Replace(out, i, i+1, alts...)
	}
	return out
}
