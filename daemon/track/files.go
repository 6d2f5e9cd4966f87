package track

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FileConfig is one track_file that something tracks.
type FileConfig struct {
	// ID is its name, unique among the files.
	ID string
	// Path is the file. It need not exist, nor its folder.
	Path string
}

// FileState is a file as status shows it.
type FileState struct {
	ID, Path string
	Value    int
	// Cause says what the value was read from, such as "no such file".
	Cause string
}

// folderRetry is how often a folder that cannot be watched is tried again.
const folderRetry = time.Second

// Files watches track_files by inotify. It watches their folders, so that a
// file may be written, replaced by rename, removed and made again; for a
// symbolic link also the folder of what it leads to.
type Files struct {
	log *slog.Logger
	out *outbox[fileEvent]
	in  *os.File // the inotify descriptor
	fd  int

	mu      sync.Mutex
	closed  bool
	files   map[string]*watchedFile
	folders map[string]int  // folder to watch descriptor
	refused map[string]bool // folders whose refusal has been logged
	retry   *time.Timer
}

type fileEvent struct {
	value int
	cause string
}

type watchedFile struct {
	FileConfig
	value int
	cause string
}

// NewFiles returns a Files without files. emit receives the value of each file
// when Apply adds it and whenever it changes. The error says that inotify is
// not available.
func NewFiles(log *slog.Logger, emit func(id string, value int, cause string)) (*Files, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w; raise fs.inotify.max_user_instances", err)
	}
	f := &Files{
		log: log, in: os.NewFile(uintptr(fd), "inotify"), fd: fd,
		files: map[string]*watchedFile{}, folders: map[string]int{}, refused: map[string]bool{},
		out: newOutbox(func(id string, e fileEvent) { emit(id, e.value, e.cause) }),
	}
	go f.listen()
	return f, nil
}

// Apply makes cfgs the files that are watched. Files that stay are not emitted
// again (see Announce). Of two with one ID the first counts.
func (f *Files) Apply(cfgs []FileConfig) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	next := make(map[string]*watchedFile, len(cfgs))
	for _, cfg := range cfgs {
		if _, twice := next[cfg.ID]; twice {
			continue
		}
		if w := f.files[cfg.ID]; w != nil && w.FileConfig == cfg {
			next[cfg.ID] = w
			continue
		}
		next[cfg.ID] = &watchedFile{FileConfig: cfg}
	}
	for id := range f.files {
		if next[id] == nil {
			f.out.drop(id)
		}
	}
	f.files = next
	// Watch before the first reading: a change in between is then an event.
	f.watchLocked()
	f.readLocked()
}

// watchLocked makes the watched folders those of the files and arms a retry
// for folders that cannot be watched now.
func (f *Files) watchLocked() {
	wanted := map[string]bool{}
	for _, w := range f.files {
		wanted[filepath.Dir(w.Path)] = true
		if real, err := filepath.EvalSymlinks(w.Path); err == nil {
			wanted[filepath.Dir(real)] = true
		}
	}
	const mask = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	missing := false
	used := map[int]bool{}
	for dir := range wanted {
		// Adding a folder again is harmless, and notices a replaced one.
		wd, err := unix.InotifyAddWatch(f.fd, dir, mask)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !f.refused[dir] {
				f.refused[dir] = true
				f.log.Warn("folder of a tracked file cannot be watched, reading once a second", "folder", dir, "err", err)
			}
			delete(f.folders, dir)
			missing = true
			continue
		}
		f.folders[dir] = wd
		delete(f.refused, dir)
		used[wd] = true
	}
	for dir, wd := range f.folders {
		if wanted[dir] {
			continue
		}
		delete(f.folders, dir)
		if !used[wd] {
			_, _ = unix.InotifyRmWatch(f.fd, uint32(wd))
		}
	}
	if f.retry != nil {
		f.retry.Stop()
		f.retry = nil
	}
	if missing {
		f.retry = time.AfterFunc(folderRetry, f.refresh)
	}
}

// refresh looks at everything again.
func (f *Files) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.watchLocked()
		f.readLocked()
	}
}

// readLocked reads all files and emits what is new. There are few of them and
// they are small, so that which one an event was for is not worth knowing.
func (f *Files) readLocked() {
	for _, w := range f.files {
		value, cause := readValue(w.Path)
		known := w.cause != ""
		changed := value != w.value
		w.value, w.cause = value, cause
		if known && !changed {
			continue
		}
		f.log.Info("tracked file read", "file", w.ID, "value", value, "reason", cause)
		f.out.put(w.ID, fileEvent{value, cause})
	}
}

// listen waits for inotify events until Close.
func (f *Files) listen() {
	buf := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := f.in.Read(buf)
		if err != nil {
			return
		}
		folders := false
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			const moved = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_Q_OVERFLOW |
				unix.IN_CREATE | unix.IN_MOVED_TO
			folders = folders || ev.Mask&moved != 0
			b = b[min(unix.SizeofInotifyEvent+int(ev.Len), len(b)):]
		}
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return
		}
		if folders {
			f.watchLocked()
		}
		f.readLocked()
		f.mu.Unlock()
	}
}

// Announce emits the value of every file again, for a receiver that has begun
// anew.
func (f *Files) Announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	for _, w := range f.sorted() {
		f.out.put(w.ID, fileEvent{w.value, w.cause})
	}
}

// States lists the files by ID.
func (f *Files) States() []FileState {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]FileState, 0, len(f.files))
	for _, w := range f.sorted() {
		states = append(states, FileState{ID: w.ID, Path: w.Path, Value: w.value, Cause: w.cause})
	}
	return states
}

func (f *Files) sorted() []*watchedFile {
	all := make([]*watchedFile, 0, len(f.files))
	for _, w := range f.files {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *watchedFile) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Close ends the watching; nothing is emitted from then on.
func (f *Files) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	if f.retry != nil {
		f.retry.Stop()
	}
	f.in.Close()
	f.out.close()
}

// readValue reads a file's number; see ParseValue. It reads at most 64 bytes
// and never waits, whatever kind of file it finds.
func readValue(path string) (value int, cause string) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return 0, err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, "not a regular file"
	}
	text, err := io.ReadAll(io.LimitReader(file, 64))
	if err != nil {
		return 0, "unreadable"
	}
	value, ok := ParseValue(string(text))
	switch {
	case strings.TrimSpace(string(text)) == "":
		return 0, "empty"
	case !ok:
		return value, fmt.Sprintf("not a number: %q", text)
	}
	return value, fmt.Sprintf("holds %d", value)
}

// ParseValue reads the decimal number at the start of a track_file's text,
// after blanks, as strtol does: what follows is ignored, no digits are 0, and
// a number too big for 32 bits is the nearest one that is not. ok tells
// whether there were digits.
func ParseValue(s string) (value int, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	sign := 1
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	n := 0
	for ; s != "" && s[0] >= '0' && s[0] <= '9'; s = s[1:] {
		n = min(n*10+int(s[0]-'0'), math.MaxInt32+1)
		ok = true
	}
	return max(min(sign*n, math.MaxInt32), math.MinInt32), ok
}
