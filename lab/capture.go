package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CaptureVRRP is the filter for all VRRP traffic, in tcpdump's language.
const CaptureVRRP = "proto 112 or proto 51 or ip6 proto 112"

// Capture is a running tcpdump of what enters the switches.
type Capture struct {
	lab  *Lab
	proc *Proc
	file string
}

// Packets are the frames of a capture, judged by tshark.
type Packets struct {
	File    string // the capture file, gone when the lab is closed
	Dropped int    // frames that the kernel dropped before tcpdump
	List    []Packet
}

// Packet is one captured frame. What the frame does not have is zero.
type Packet struct {
	Time     time.Time // wall clock
	Host     string    // whose port it entered by
	Iface    string
	Src, Dst netip.Addr
	TTL      int
	TOS      int
	Protocol string // tshark's, such as eth:ethertype:ip:vrrp
	Version  int    // of VRRP, as the following
	VRID     int
	Priority int
	Auth     int           // version 2: 0 none, 1 PASS, 2 AH
	Interval time.Duration // between adverts
	Checksum int           // of VRRP, by tshark: 1 good, 0 bad, 2 unverified, -1 none
	Expert   []string      // tshark's warnings and errors
	Raw      []byte        // from the network layer's header on
}

// Capture records what enters the switches and matches the filter, which is
// in tcpdump's language. It is running when this returns.
func (l *Lab) Capture(ctx context.Context, filter string) (*Capture, error) {
	out, err := os.CreateTemp(l.dir, "capture.*.pcap")
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	defer out.Close()
	c := &Capture{lab: l, file: out.Name()}
	// Only the incoming side of each port: a forwarded frame counts once, and
	// the cooked header says which port it came in by. tcpdump would
	// otherwise drop to a user that a user namespace does not have.
	c.proc, err = l.sw.Start(Cmd{
		Argv: []string{
			"tcpdump", "-i", "any", "-y", "LINUX_SLL2", "-Q", "in", "-Z", "root", "-n", "-U", "-s", "0",
			"--immediate-mode", "--time-stamp-precision=nano", "-w", "-", filter,
		},
		Stdout: out,
	})
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if _, err := c.proc.WaitOutput(ctx, regexp.MustCompile(`listening on`)); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return c, nil
}

var droppedByKernel = regexp.MustCompile(`(\d+) packets? dropped by kernel`)

// Stop ends the capture and has it judged.
func (c *Capture) Stop(ctx context.Context) (*Packets, error) {
	if err := c.proc.Signal(unix.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if _, err := c.proc.Wait(ctx); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	m := droppedByKernel.FindStringSubmatch(c.proc.Output())
	if m == nil {
		return nil, fmt.Errorf("capture: tcpdump gave no account: %s", tail(c.proc.Output()))
	}
	p := &Packets{File: c.file}
	p.Dropped, _ = strconv.Atoi(m[1])
	if err := p.read(ctx, c.lab); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return p, nil
}

// tsharkFields is the order of columns that parsePacket reads.
var tsharkFields = []string{
	"frame.number", "frame.time_epoch", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
	"ip.ttl", "ipv6.hlim", "ip.dsfield", "vrrp.version", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.auth_type",
	"vrrp.adver_int", "vrrp.short_adver_int", "vrrp.checksum.status", "ip.checksum.status",
	"_ws.expert.severity", "_ws.expert.message", "_ws.malformed",
}

func tshark(ctx context.Context, file string) ([]string, error) {
	argv := []string{
		"-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-T", "fields",
		"-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=|",
	}
	for _, f := range tsharkFields {
		argv = append(argv, "-e", f)
	}
	cmd := exec.CommandContext(ctx, "tshark", argv...)
	cmd.Env = hostEnviron([]string{"HOME=" + filepath.Dir(file)})
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tshark: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n"), nil
}

// read joins what tshark says of each frame with the frame itself.
func (p *Packets) read(ctx context.Context, l *Lab) error {
	data, err := os.ReadFile(p.File)
	if err != nil {
		return err
	}
	frames, err := parsePcap(data)
	if err != nil || len(frames) == 0 {
		return err
	}
	lines, err := tshark(ctx, p.File)
	if err != nil {
		return err
	}
	if len(lines) != len(frames) {
		return fmt.Errorf("tshark described %d of %d frames", len(lines), len(frames))
	}
	ports := *l.ports.Load()
	for i, line := range lines {
		f := frames[i]
		from, ok := ports[f.ifindex]
		if !ok {
			continue // a bridge's own copy
		}
		packet, err := parsePacket(line)
		if err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
		packet.Host, packet.Iface, packet.Raw = from.host, from.iface, f.data
		p.List = append(p.List, packet)
	}
	return nil
}

// expertWarning is tshark's lowest severity above a note.
const expertWarning = 0x00600000

func parsePacket(line string) (Packet, error) {
	values := strings.Split(line, "\t")
	if len(values) != len(tsharkFields) {
		return Packet{}, fmt.Errorf("tshark gave %d of %d fields", len(values), len(tsharkFields))
	}
	field := make(map[string]string, len(values))
	for i, v := range values {
		field[tsharkFields[i]] = v
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v, _, _ := strings.Cut(field[n], "|"); v != "" {
				return v
			}
		}
		return ""
	}
	number := func(names ...string) int {
		n, _ := strconv.ParseInt(first(names...), 0, 64)
		return int(n)
	}
	seconds, err := strconv.ParseFloat(first("frame.time_epoch"), 64)
	if err != nil {
		return Packet{}, fmt.Errorf("time: %w", err)
	}
	p := Packet{
		Time: time.Unix(0, int64(seconds*1e9)), Protocol: first("frame.protocols"),
		TTL: number("ip.ttl", "ipv6.hlim"), TOS: number("ip.dsfield"),
		Version: number("vrrp.version"), VRID: number("vrrp.virt_rtr_id"), Priority: number("vrrp.prio"),
		Auth: number("vrrp.auth_type"), Checksum: -1,
		Interval: time.Duration(number("vrrp.adver_int")) * time.Second,
	}
	p.Src, _ = netip.ParseAddr(first("ip.src", "ipv6.src"))
	p.Dst, _ = netip.ParseAddr(first("ip.dst", "ipv6.dst"))
	if first("vrrp.short_adver_int") != "" {
		p.Interval = time.Duration(number("vrrp.short_adver_int")) * 10 * time.Millisecond
	}
	if first("vrrp.checksum.status") != "" {
		p.Checksum = number("vrrp.checksum.status")
	}
	messages := strings.Split(field["_ws.expert.message"], "|")
	for i, s := range strings.Split(field["_ws.expert.severity"], "|") {
		if severity, _ := strconv.ParseInt(s, 0, 64); severity >= expertWarning && i < len(messages) {
			p.Expert = append(p.Expert, messages[i])
		}
	}
	if first("ip.checksum.status") == "0" {
		p.Expert = append(p.Expert, "bad IP header checksum")
	}
	if field["_ws.malformed"] != "" {
		p.Expert = append(p.Expert, "malformed packet")
	}
	return p, nil
}

// VRRP are the packets that tshark calls VRRP.
func (p *Packets) VRRP() []Packet {
	var list []Packet
	for _, q := range p.List {
		if q.Version != 0 {
			list = append(list, q)
		}
	}
	return list
}

// Complaints says what is wrong with the packets: VRRP with a checksum that is
// bad or missing, a TTL other than 255, and whatever tshark warns of.
func (p *Packets) Complaints() []string {
	var list []string
	if p.Dropped > 0 {
		list = append(list, fmt.Sprintf("%d frames were not captured", p.Dropped))
	}
	for i, q := range p.List {
		complain := func(format string, args ...any) {
			list = append(list, fmt.Sprintf("packet %d, %s from %s (%s): ", i+1, q.Protocol, q.Host, q.Src)+fmt.Sprintf(format, args...))
		}
		if q.Version != 0 && q.Checksum != 1 {
			complain("VRRP checksum status %d", q.Checksum)
		}
		if q.Version != 0 && q.TTL != 255 {
			complain("TTL %d", q.TTL)
		}
		for _, e := range q.Expert {
			complain("%s", e)
		}
	}
	return list
}

type pcapFrame struct {
	ifindex int
	data    []byte // from the network layer on
}

// parsePcap splits a capture file with cooked version 2 headers, written on
// this machine.
func parsePcap(data []byte) ([]pcapFrame, error) {
	const (
		fileHeader, recordHeader, cooked = 24, 16, 20
		linkCooked2                      = 276
	)
	if len(data) < fileHeader {
		return nil, errors.New("the capture file has no header")
	}
	if link := binary.NativeEndian.Uint32(data[20:24]); link != linkCooked2 {
		return nil, fmt.Errorf("the capture file has link type %d, not %d", link, linkCooked2)
	}
	var frames []pcapFrame
	for data = data[fileHeader:]; len(data) > 0; {
		if len(data) < recordHeader {
			return nil, errors.New("the capture file ends in the middle of a record")
		}
		size := int(binary.NativeEndian.Uint32(data[8:12]))
		data = data[recordHeader:]
		if size < cooked || size > len(data) {
			return nil, errors.New("the capture file ends in the middle of a frame")
		}
		frames = append(frames, pcapFrame{int(binary.BigEndian.Uint32(data[4:8])), data[cooked:size]})
		data = data[size:]
	}
	return frames, nil
}
