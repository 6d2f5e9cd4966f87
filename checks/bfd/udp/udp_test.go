package udp

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace runs a test in a network namespace of its own, with lo up. The
// thread ends with it.
func namespace(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			done <- errors.Join(err, errors.New(string(out)))
			return
		}
		defer func() { done <- nil }()
		fn(t)
	}()
	if err := <-done; err != nil {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatal("no network namespace can be made:", err)
		}
		t.Skip("no network namespace can be made:", err)
	}
}

type received struct {
	from netip.Addr
	ttl  int
	text string
}

func drain(t *testing.T, l *Listener) (got []received) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if n, err := unix.Poll(poll, 1000); n == 1 && err == nil {
			break
		}
	}
	if err := l.Drain(func(from netip.Addr, _ bool, ttl int, b []byte) {
		got = append(got, received{from, ttl, string(b)})
	}); err != nil {
		t.Error(err)
	}
	return got
}

func TestPacketsArriveWithSourceAndTTL(t *testing.T) {
	namespace(t, func(t *testing.T) {
		for _, c := range []struct {
			source, neighbor string
			multihop         bool
			ttl              int
		}{{"127.0.0.5", "127.0.0.1", false, 255}, {"127.0.0.5", "127.0.0.1", true, 17}, {"::1", "::1", false, 64}} {
			source, neighbor := netip.MustParseAddr(c.source), netip.MustParseAddr(c.neighbor)
			l, err := Listen(neighbor.Is6(), c.multihop)
			if err != nil {
				t.Error(err)
				return
			}
			s, err := Dial(source, neighbor, c.multihop, c.ttl)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Send([]byte("hello")); err != nil {
				t.Error(err)
			}
			got := drain(t, l)
			if want := (received{source, c.ttl, "hello"}); len(got) != 1 || got[0] != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			local, err := unix.Getsockname(s.fd)
			switch a := local.(type) {
			case *unix.SockaddrInet4:
				if a.Port < firstPort {
					t.Errorf("source port %d (RFC 5881 section 4: 49152 to 65535)", a.Port)
				}
			case *unix.SockaddrInet6:
				if a.Port < firstPort {
					t.Errorf("source port %d (RFC 5881 section 4: 49152 to 65535)", a.Port)
				}
			default:
				t.Errorf("no source port: %v", err)
			}
			s.Close()
			l.Close()
		}
	})
}

func TestSourceThatIsNotThereYet(t *testing.T) {
	namespace(t, func(t *testing.T) {
		s, err := Dial(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), false, 255)
		if !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("%v, %v", s, err)
		}
	})
}

func TestTwoListenersAreRefusedWithAHint(t *testing.T) {
	namespace(t, func(t *testing.T) {
		l, err := Listen(false, false)
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		if _, err := Listen(false, false); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%v", err)
		}
	})
}

func TestReceivingDoesNotAllocate(t *testing.T) {
	namespace(t, func(t *testing.T) {
		lo := netip.MustParseAddr("127.0.0.1")
		l, err := Listen(false, false)
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		s, err := Dial(lo, lo, false, 255)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		packet, count := make([]byte, 24), 0
		take := func(_ netip.Addr, _ bool, ttl int, b []byte) {
			if ttl == 255 && len(b) == 24 {
				count++
			}
		}
		turn := func() {
			if err := errors.Join(s.Send(packet), l.Drain(take)); err != nil {
				t.Error(err)
			}
		}
		if n := testing.AllocsPerRun(100, turn); n > 0 || count < 100 {
			t.Errorf("%v allocations, %d packets", n, count)
		}
	})
}
