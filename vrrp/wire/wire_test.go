package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	lb1 = [16]byte{1}
	lb2 = [16]byte{2}
	lb3 = [16]byte{3}
	key = bytes.Repeat([]byte{7}, KeySize)
)

func pair(t testing.TB) (a, b *Sealer) {
	t.Helper()
	a, err := NewSealer(key, lb1, lb2, 100)
	if err != nil {
		t.Fatal(err)
	}
	b, err = NewSealer(key, lb2, lb1, 200)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func seal(t testing.TB, s *Sealer, m *Message) []byte {
	t.Helper()
	d, err := s.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, x := range s {
		out = append(out, netip.MustParseAddr(x))
	}
	return out
}

func messages() []Message {
	v4 := NewTag(4, 51, addrs("10.0.0.101", "10.0.0.100"))
	v6 := NewTag(6, 52, addrs("2001:db8::100", "fe80::1"))
	return []Message{
		{Header: Header{Type: TypeAdvert, Sent: 5}, Tag: v4, Advert: Advert{Priority: 100, Interval: time.Second, Source: netip.MustParseAddr("10.0.0.1")}},
		{Header: Header{Type: TypeAdvert}, Tag: v6, Advert: Advert{Interval: 10 * time.Millisecond, Source: netip.MustParseAddr("fe80::5")}},
		{Header: Header{Type: TypeQuery}, Tag: v4, Nonce: 9, Query: Query{About: lb3}},
		{Header: Header{Type: TypeAnswer}, Tag: v6, Nonce: 9, Answer: Answer{Kind: Holding, Candidate: true, Priority: 255, AdvertAge: 900 * time.Millisecond, LANHeard: Never, Source: netip.MustParseAddr("fe80::5")}},
		{Header: Header{Type: TypeAnswer}, Tag: v4, Nonce: 10, Answer: Answer{Kind: Unknown, AdvertAge: Never, LANHeard: 0}},
		{Header: Header{Type: TypeUnheard}, Tag: v4, Nonce: 1 << 63},
		{Header: Header{Type: TypeYield}, Tag: v4, Nonce: 2},
		{Header: Header{Type: TypeInsist}, Tag: v4, Nonce: 3},
	}
}

func TestEveryMessageComesBack(t *testing.T) {
	a, b := pair(t)
	for i, m := range messages() {
		var got Message
		if err := b.Open(seal(t, a, &m), &got); err != nil {
			t.Fatalf("%v: %v", m.Type, err)
		}
		m.Sender, m.Boot, m.Sequence = lb1, 100, uint64(i+1)
		if d := cmp.Diff(m, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
			t.Errorf("%v (-want +got):\n%s", m.Type, d)
		}
	}
}

func TestLargestMessageFits(t *testing.T) {
	a, b := pair(t)
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}))
	}
	m := messages()[3]
	m.Tag = NewTag(6, 1, many)
	d := seal(t, a, &m)
	if len(d) > MaxSize {
		t.Errorf("%d bytes, want at most %d", len(d), MaxSize)
	}
	var got Message
	if err := b.Open(d, &got); err != nil || len(got.Tag.Addresses) != MaxAddresses {
		t.Errorf("opened with %v and %d addresses", err, len(got.Tag.Addresses))
	}
}

func TestAppendKeepsWhatIsBefore(t *testing.T) {
	a, b := pair(t)
	m := messages()[2]
	d, err := a.Append([]byte("before"), &m)
	if err != nil || string(d[:6]) != "before" {
		t.Fatalf("%q, %v", d[:6], err)
	}
	if err := b.Open(d[6:], new(Message)); err != nil {
		t.Error(err)
	}
}

func TestWrongValuesAreNotSealed(t *testing.T) {
	a, _ := pair(t)
	for name, change := range map[string]func(*Message){
		"type":     func(m *Message) { m.Type = 0 },
		"family":   func(m *Message) { m.Tag.Family = 5 },
		"vrid":     func(m *Message) { m.Tag.VRID = 0 },
		"interval": func(m *Message) { m.Advert.Interval = 2 * time.Hour },
		"many":     func(m *Message) { m.Tag.Addresses = make([]netip.Addr, MaxAddresses+1) },
	} {
		m := messages()[0]
		change(&m)
		if d, err := a.Append([]byte{1}, &m); !errors.Is(err, ErrMessage) || len(d) != 1 {
			t.Errorf("%s: %d bytes, %v", name, len(d), err)
		}
	}
	if _, err := NewSealer(key[:31], lb1, lb2, 1); err == nil {
		t.Error("a short key is taken")
	}
	if _, err := NewSealer(key, lb1, lb1, 1); err == nil {
		t.Error("a node seals to itself")
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	a, _ := pair(t)
	m := messages()[0]
	d := seal(t, a, &m)
	for i := range d {
		for bit := range 8 {
			_, b := pair(t)
			d[i] ^= 1 << bit
			if err := b.Open(d, new(Message)); err == nil {
				t.Fatalf("byte %d bit %d flipped: taken", i, bit)
			}
			d[i] ^= 1 << bit
		}
	}
	for n := range len(d) {
		_, b := pair(t)
		if err := b.Open(d[:n], new(Message)); err == nil {
			t.Fatalf("cut to %d bytes: taken", n)
		}
	}
}

func TestKeySenderAndReflection(t *testing.T) {
	a, b := pair(t)
	m := messages()[0]
	d := seal(t, a, &m)
	if err := a.Open(d, new(Message)); !errors.Is(err, ErrSender) {
		t.Errorf("reflected: %v", err)
	}
	other, _ := NewSealer(bytes.Repeat([]byte{8}, KeySize), lb2, lb1, 1)
	if err := other.Open(d, new(Message)); !errors.Is(err, ErrMAC) {
		t.Errorf("another key: %v", err)
	}
	third, _ := NewSealer(key, lb2, lb3, 1)
	if err := third.Open(d, new(Message)); !errors.Is(err, ErrSender) {
		t.Errorf("another peer: %v", err)
	}
	if got, ok := Peek(d); !ok || got != lb1 {
		t.Errorf("Peek says %x, %v", got, ok)
	}
	if err := b.Open(d, new(Message)); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestAdvertsAreStrictlyNewer(t *testing.T) {
	a, b := pair(t)
	m := messages()[0]
	first, second := seal(t, a, &m), seal(t, a, &m)
	for _, c := range []struct {
		d    []byte
		want error
	}{{second, nil}, {first, ErrReplay}, {second, ErrReplay}} {
		if err := b.Open(c.d, new(Message)); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
}

func TestOthersMayBeReorderedWithin64(t *testing.T) {
	a, b := pair(t)
	m := messages()[2]
	var d [][]byte
	for range 66 {
		d = append(d, seal(t, a, &m))
	}
	for _, c := range []struct {
		i    int
		want error
	}{{65, nil}, {65, ErrReplay}, {2, nil}, {2, ErrReplay}, {1, ErrReplay}, {0, ErrReplay}, {64, nil}, {3, nil}, {64, ErrReplay}} {
		if err := b.Open(d[c.i], new(Message)); !errors.Is(err, c.want) {
			t.Errorf("datagram %d: got %v, want %v", c.i, err, c.want)
		}
	}
	for range 200 {
		seal(t, a, &m)
	}
	if err := b.Open(seal(t, a, &m), new(Message)); err != nil {
		t.Errorf("after a long gap: %v", err)
	}
}

func TestQueriesDoNotHoldAdvertsUp(t *testing.T) {
	a, b := pair(t)
	advert, query := messages()[0], messages()[2]
	da, dq := seal(t, a, &advert), seal(t, a, &query)
	for _, d := range [][]byte{dq, da} {
		if err := b.Open(d, new(Message)); err != nil {
			t.Error(err)
		}
	}
}

func TestBootNeverGoesBack(t *testing.T) {
	a, b := pair(t)
	m := messages()[0]
	old := seal(t, a, &m)
	next, _ := NewSealer(key, lb1, lb2, 101)
	if err := b.Open(seal(t, next, &m), new(Message)); err != nil {
		t.Fatalf("a new boot: %v", err)
	}
	if err := b.Open(old, new(Message)); !errors.Is(err, ErrOldBoot) {
		t.Errorf("the old boot: %v", err)
	}
	_, restarted := pair(t)
	restarted.RequireBoot(101)
	if err := restarted.Open(old, new(Message)); !errors.Is(err, ErrOldBoot) {
		t.Errorf("a recording, after RequireBoot: %v", err)
	}
	restarted.RequireBoot(3)
	if err := restarted.Open(seal(t, next, &m), new(Message)); err != nil {
		t.Errorf("the required boot: %v", err)
	}
}

func TestTagsCompare(t *testing.T) {
	own := NewTag(4, 51, addrs("10.0.0.100", "10.0.0.101"))
	for _, c := range []struct {
		name string
		tag  Tag
		want Relation
	}{
		{"the same in another order", NewTag(4, 51, addrs("10.0.0.101", "10.0.0.100", "10.0.0.101")), Same},
		{"mapped addresses", NewTag(4, 51, addrs("::ffff:10.0.0.101", "10.0.0.100")), Same},
		{"one in common", NewTag(4, 51, addrs("10.0.0.101", "10.0.0.102")), Overlaps},
		{"none in common", NewTag(4, 51, addrs("10.0.0.110")), Differs},
		{"no addresses", NewTag(4, 51, nil), Differs},
		{"another VRID", NewTag(4, 52, addrs("10.0.0.100", "10.0.0.101")), Other},
		{"another family", NewTag(6, 51, addrs("10.0.0.100", "10.0.0.101")), Other},
	} {
		if got := own.Compare(&c.tag); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	a, b := pair(t)
	m := messages()[0]
	buf := make([]byte, 0, MaxSize)
	var got Message
	if n := testing.AllocsPerRun(200, func() {
		d, err := a.Append(buf, &m)
		if err == nil {
			err = b.Open(d, &got)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for one advert sealed and opened", n)
	}
}

// FuzzDecode feeds bodies that carry a right header, as a peer gone wrong
// could: whatever decodes is encoded again to the same bytes.
func FuzzDecode(f *testing.F) {
	a, _ := pair(f)
	for _, m := range messages() {
		d := seal(f, a, &m)
		f.Add(d[:len(d)-macSize])
	}
	f.Fuzz(func(t *testing.T, d []byte) {
		var m Message
		if len(d) < headerSize || len(d) > MaxSize-macSize || !decode(d, &m) {
			return
		}
		again, err := appendBody(appendHeader(nil, &m.Header), &m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		var second Message
		again[6], again[7] = byte((len(again)-headerSize)>>8), byte(len(again)-headerSize)
		if !decode(again, &second) {
			t.Fatalf("what was encoded does not decode: %+v", m)
		}
		if diff := cmp.Diff(m, second, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzOpen feeds anything at all: nothing without the key is taken.
func FuzzOpen(f *testing.F) {
	a, _ := pair(f)
	m := messages()[0]
	good := seal(f, a, &m)
	f.Add(good)
	f.Fuzz(func(t *testing.T, d []byte) {
		_, b := pair(t)
		if err := b.Open(d, new(Message)); err == nil && !bytes.Equal(d, good) {
			t.Fatalf("taken: %x", d)
		}
	})
}

func BenchmarkAdvert(b *testing.B) {
	s, o := pair(b)
	m := messages()[0]
	buf := make([]byte, 0, MaxSize)
	var got Message
	b.ReportAllocs()
	for b.Loop() {
		d, _ := s.Append(buf, &m)
		if err := o.Open(d, &got); err != nil {
			b.Fatal(err)
		}
	}
}
