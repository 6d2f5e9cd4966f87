package track

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseValueReadsLikeStrtol(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "\n": 0, "5": 5, "-20\n": -20, "  +7 x": 7, "12abc": 12, "abc": 0, "-": 0, "0x10": 0, "007": 7,
		"99999999999999999999": math.MaxInt32, "-99999999999999999999": math.MinInt32,
	} {
		if got, _ := ParseValue(in); got != want {
			t.Errorf("ParseValue(%q) = %d, want %d", in, got, want)
		}
	}
}

type filesFixture struct {
	*Files
	events chan string
}

func newFilesFixture(t *testing.T) filesFixture {
	t.Helper()
	events := make(chan string, 1000)
	f, err := NewFiles(nil, func(id string, value int, cause string) {
		events <- fmt.Sprintf("%s=%d %s", id, value, cause)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return filesFixture{f, events}
}

func (f filesFixture) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-f.events:
		if got != want {
			t.Fatalf("got event %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %q", want)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsFollowedThroughAllItsChanges(t *testing.T) {
	f := newFilesFixture(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "value")
	f.Apply([]FileConfig{{ID: "a", Path: path}})
	f.want(t, "a=0 no such file or directory")
	put(t, path, "5\n")
	f.want(t, "a=5 holds 5")
	put(t, path+".new", "-7\n")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	f.want(t, "a=-7 holds -7")
	put(t, path, "junk")
	f.want(t, `a=0 not a number: "junk"`)
	put(t, path, "3")
	f.want(t, "a=3 holds 3")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.want(t, "a=0 no such file or directory")
}

func TestAFolderMayComeLaterAndBeReplaced(t *testing.T) {
	f := newFilesFixture(t)
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "value")
	f.Apply([]FileConfig{{ID: "a", Path: path}})
	f.want(t, "a=0 no such file or directory")
	for i := 1; i <= 2; i++ {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, path, fmt.Sprint(i))
		f.want(t, fmt.Sprintf("a=%d holds %d", i, i))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		f.want(t, "a=0 no such file or directory")
	}
}

func TestALinksTargetIsFollowed(t *testing.T) {
	f := newFilesFixture(t)
	target, link := filepath.Join(t.TempDir(), "target"), filepath.Join(t.TempDir(), "link")
	put(t, target, "1")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	f.Apply([]FileConfig{{ID: "a", Path: link}})
	f.want(t, "a=1 holds 1")
	put(t, target, "2")
	f.want(t, "a=2 holds 2")
}

func TestReloadOfFilesKeepsThoseThatStay(t *testing.T) {
	f := newFilesFixture(t)
	dir := t.TempDir()
	a, b := FileConfig{"a", filepath.Join(dir, "a")}, FileConfig{"b", filepath.Join(dir, "b")}
	put(t, a.Path, "1")
	put(t, b.Path, "2")
	f.Apply([]FileConfig{a})
	f.want(t, "a=1 holds 1")
	f.Apply([]FileConfig{a, b})
	f.want(t, "b=2 holds 2")
	f.Apply([]FileConfig{b})
	put(t, a.Path, "9")
	put(t, b.Path, "3")
	f.want(t, "b=3 holds 3")
	f.Announce()
	f.want(t, "b=3 holds 3")
	want := []FileState{{ID: "b", Path: b.Path, Value: 3, Cause: "holds 3"}}
	if d := cmp.Diff(want, f.States()); d != "" {
		t.Errorf("states (-want +got):\n%s", d)
	}
}

func TestWhatIsNoPlainFileCountsAsZero(t *testing.T) {
	dir := t.TempDir()
	if v, cause := readValue(dir); v != 0 || cause != "not a regular file" {
		t.Errorf("a folder: %d %s", v, cause)
	}
	if v, cause := readValue("/dev/zero"); v != 0 || cause != "not a regular file" {
		t.Errorf("a device: %d %s", v, cause)
	}
	empty := filepath.Join(dir, "empty")
	if err := errors.Join(os.WriteFile(empty, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if v, cause := readValue(empty); v != 0 || cause != "empty" {
		t.Errorf("an empty file: %d %s", v, cause)
	}
}
