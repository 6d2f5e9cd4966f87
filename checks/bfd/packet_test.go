package bfd

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded is a packet of keepalived 2.2.7 that asks for an answer (Poll).
const recorded = "20e00318a51f3d0da51f3d0e00030d40000186a000000000"

var decoded = Packet{
	State: Up, Poll: true, Multiplier: 3, Mine: 0xa51f3d0d, Yours: 0xa51f3d0e,
	DesiredMinTx: 200 * time.Millisecond, RequiredMinRx: 100 * time.Millisecond,
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPacketOfKeepalived(t *testing.T) {
	p, err := Parse(unhex(t, recorded))
	if d := cmp.Diff(decoded, p); d != "" || err != nil {
		t.Error(err, d)
	}
	if got := hex.EncodeToString(Append(nil, &decoded)); got != recorded {
		t.Errorf("encoded as %s, want %s", got, recorded)
	}
}

// RFC 5880 section 6.8.6, the rules that need no session.
func TestSection6_8_6PacketsThatAreDiscarded(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"the version is not 1":                  func(b []byte) []byte { b[0] = 2 << 5; return b },
		"the length is below 24":                func(b []byte) []byte { b[3] = 23; return b },
		"the length is above the payload's":     func(b []byte) []byte { b[3] = 25; return b },
		"the payload is cut":                    func(b []byte) []byte { return b[:23] },
		"the multiplier is zero":                func(b []byte) []byte { b[2] = 0; return b },
		"the multipoint bit is set":             func(b []byte) []byte { b[1] |= 1; return b },
		"my discriminator is zero":              func(b []byte) []byte { clear(b[4:8]); return b },
		"your discriminator is zero while Up":   func(b []byte) []byte { clear(b[8:12]); return b },
		"your discriminator is zero while Init": func(b []byte) []byte { clear(b[8:12]); b[1] = 2 << 6; return b },
		"it is authenticated":                   func(b []byte) []byte { b[1] |= 4; return b },
	} {
		if p, err := Parse(change(unhex(t, recorded))); !errors.Is(err, ErrDiscarded) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for _, state := range []State{Down, AdminDown} {
		b := unhex(t, recorded)
		clear(b[8:12])
		b[1] = byte(state) << 6
		if _, err := Parse(b); err != nil {
			t.Errorf("%s without a session: %v", state, err)
		}
	}
	if _, err := Parse(append(unhex(t, recorded), 1, 2, 3)); err != nil {
		t.Errorf("a payload with a tail: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, recorded))
	f.Add(unhex(f, "2040000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrDiscarded) {
				t.Errorf("another error: %v", err)
			}
			return
		}
		again, err := Parse(Append(nil, &p))
		if d := cmp.Diff(p, again); d != "" || err != nil {
			t.Error(err, d)
		}
	})
}
