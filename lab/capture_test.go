package lab

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sendFrame puts an Ethernet frame onto a host's first interface.
func sendFrame(t *testing.T, h *Host, frame []byte) {
	t.Helper()
	_, err := inNamespace(h, func() (int, error) {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		ifreq, err := unix.NewIfreq("eth0")
		if err != nil {
			return -1, err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifreq); err != nil {
			return -1, err
		}
		return 0, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: int(ifreq.Uint32())})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// advertFrame is the sample advert with a TTL; damage may change it after its
// checksums were made.
func advertFrame(ttl byte, damage func(vrrp []byte)) []byte {
	frame := sampleAdvert()
	ip := frame[etherHeader : etherHeader+20]
	ip[8] = ttl
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], internetChecksum(ip))
	if damage != nil {
		damage(frame[etherHeader+20:])
	}
	return frame
}

func TestCaptureTellsGoodAdvertsFromBad(t *testing.T) {
	Require(t, Tcpdump, Tshark)
	l := newTestLab(t, Options{})
	a, b := lanHost(t, l, "a", 1), lanHost(t, l, "b", 2)
	ctx := testContext(t, time.Minute)
	var (
		mu      sync.Mutex
		adverts []string
		arrived = make(chan struct{}, 16)
		begin   = Now()
	)
	_, err := l.Sniff(ctx, func(f Frame) {
		if v, ok := DecodeAdvert(f.Bytes); ok {
			mu.Lock()
			adverts = append(adverts, f.Host+" "+v.Src.String())
			mu.Unlock()
			if f.At < begin || f.At > Now() {
				t.Errorf("seen at %s, sent between %s and %s", f.At, begin, Now())
			}
			arrived <- struct{}{}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Capture(ctx, CaptureVRRP)
	if err != nil {
		t.Fatal(err)
	}
	sendFrame(t, a, advertFrame(255, nil))
	sendFrame(t, b, advertFrame(255, func(vrrp []byte) { vrrp[2]++ }))
	sendFrame(t, b, advertFrame(254, nil))
	for range 3 {
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatal("the sniffer missed an advert")
		}
	}
	p, err := c.Stop(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list := p.VRRP()
	if len(list) != 3 {
		t.Fatalf("%d VRRP packets captured: %+v", len(list), p.List)
	}
	good := list[0]
	if good.Host != "a" || good.Iface != "eth0" || good.VRID != 7 || good.Priority != 100 || good.Version != 2 ||
		good.Interval != time.Second || good.Checksum != 1 || good.TTL != 255 || good.TOS != 0xc0 ||
		good.Src.String() != "10.0.0.1" || good.Dst.String() != "224.0.0.18" || len(good.Raw) != 54 ||
		time.Since(good.Time) > time.Minute {
		t.Errorf("the good advert reads %+v", good)
	}
	complaints := strings.Join(p.Complaints(), "\n")
	if strings.Contains(complaints, "packet 1,") || !strings.Contains(complaints, "packet 2, ") ||
		!strings.Contains(complaints, "VRRP checksum status 0") || !strings.Contains(complaints, "TTL 254") {
		t.Errorf("the complaints are:\n%s", complaints)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(adverts, ", "); got != "a 10.0.0.1, b 10.0.0.1, b 10.0.0.1" {
		t.Errorf("the sniffer attributes %s", got)
	}
}

func TestCaptureRefusesABadFilterAndKnowsSilence(t *testing.T) {
	Require(t, Tcpdump)
	l := newTestLab(t, Options{})
	ctx := testContext(t, time.Minute)
	if _, err := l.Capture(ctx, "no such filter"); err == nil || !strings.Contains(err.Error(), "syntax") {
		t.Errorf("a bad filter gives %v", err)
	}
	c, err := l.Capture(ctx, CaptureVRRP)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Stop(ctx)
	if err != nil || len(p.List) != 0 || len(p.Complaints()) != 0 {
		t.Errorf("a silent network gives %+v, %v", p, err)
	}
}

func TestDamagedCaptureFilesAreRefused(t *testing.T) {
	whole := sampleCapture()
	if frames, err := parsePcap(whole); err != nil || len(frames) != 1 || len(frames[0]) != 54 {
		t.Fatalf("the whole file gives %+v, %v", frames, err)
	}
	for _, size := range []int{0, 23, 30, 41, len(whole) - 1} {
		if _, err := parsePcap(whole[:size]); err == nil {
			t.Errorf("%d of %d bytes were accepted", size, len(whole))
		}
	}
	whole[20] = 113
	if _, err := parsePcap(whole); err == nil {
		t.Error("another link type was accepted")
	}
	if _, err := parsePacket("1\t2"); err == nil {
		t.Error("a short line of tshark was accepted")
	}
}
