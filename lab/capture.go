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
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/bpf"
)

// CaptureVRRP is the filter for all VRRP traffic, in tcpdump's language.
const CaptureVRRP = "proto 112 or proto 51 or ip6 proto 112"

// Capture is a running record of what enters the switches.
type Capture struct {
	lab     *Lab
	sniffer *Sniffer
	file    *os.File
	name    string
	from    []port // of each frame in the file
	err     error
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
	Raw      []byte        // the Ethernet frame
}

// Capture records what enters the switches and matches the filter, which is
// in tcpdump's language; "" is everything. It is running when this returns.
//
// tcpdump compiles the filter, but the lab's own sniffer records: tcpdump
// gives up root, which fails in a user namespace, and a sniffer knows the
// port of entry without putting cooked headers into the file.
func (l *Lab) Capture(ctx context.Context, filter string) (*Capture, error) {
	program, err := compileFilter(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	out, err := os.CreateTemp(l.dir, "capture.*.pcap")
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	c := &Capture{lab: l, file: out, name: out.Name()}
	if _, err = out.Write(pcapHeader()); err == nil {
		c.sniffer, err = l.sniff(ctx, program, c.record)
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("capture: %w", err)
	}
	return c, nil
}

// compileFilter has tcpdump make a socket filter of an expression.
func compileFilter(ctx context.Context, filter string) ([]bpf.RawInstruction, error) {
	out, err := output(ctx, "tcpdump", "-y", "EN10MB", "-ddd", filter)
	if err != nil {
		return nil, fmt.Errorf("compiling the filter %q: %w", filter, err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var program []bpf.RawInstruction
	for _, line := range lines[1:] { // the first is their number
		var i bpf.RawInstruction
		if _, err := fmt.Sscan(line, &i.Op, &i.Jt, &i.Jf, &i.K); err != nil {
			return nil, fmt.Errorf("compiling the filter %q: tcpdump said %q", filter, out)
		}
		program = append(program, i)
	}
	return program, nil
}

// record runs on the sniffer's goroutine.
func (c *Capture) record(f Frame) {
	wall := time.Now().Add(f.At - Now())
	if _, err := c.file.Write(pcapRecord(wall, f.Bytes)); err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	c.from = append(c.from, port{host: f.Host, iface: f.Iface})
}

// Stop ends the capture and has it judged.
func (c *Capture) Stop(ctx context.Context) (*Packets, error) {
	dropped, err := c.sniffer.Stop()
	if err = errors.Join(err, c.err, c.file.Close()); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	p := &Packets{File: c.name, Dropped: int(dropped)}
	if len(c.from) == 0 {
		return p, nil
	}
	if p.List, err = judgePackets(ctx, c.name, c.from); err != nil {
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

// judgePackets joins what tshark says of each frame with the frame itself and
// its port.
func judgePackets(ctx context.Context, file string, from []port) ([]Packet, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	frames, err := parsePcap(data)
	if err != nil {
		return nil, err
	}
	lines, err := tshark(ctx, file)
	if err != nil {
		return nil, err
	}
	if len(lines) != len(frames) || len(from) != len(frames) {
		return nil, fmt.Errorf("tshark described %d of %d frames", len(lines), len(frames))
	}
	list := make([]Packet, len(frames))
	for i, line := range lines {
		p, err := parsePacket(line)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i+1, err)
		}
		p.Host, p.Iface, p.Raw = from[i].host, from[i].iface, frames[i]
		list[i] = p
	}
	return list, nil
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

// The capture file: the classic format with nanoseconds, in this machine's
// byte order, link type Ethernet.
const (
	pcapMagic      = 0xa1b23c4d
	pcapEthernet   = 1
	pcapFileSize   = 24
	pcapRecordSize = 16
)

func pcapHeader() []byte {
	var b []byte
	for _, v := range []uint32{pcapMagic, 2 | 4<<16, 0, 0, maxFrame, pcapEthernet} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

func pcapRecord(at time.Time, frame []byte) []byte {
	b := make([]byte, 0, pcapRecordSize+len(frame))
	for _, v := range []int64{at.Unix(), int64(at.Nanosecond()), int64(len(frame)), int64(len(frame))} {
		b = binary.NativeEndian.AppendUint32(b, uint32(v))
	}
	return append(b, frame...)
}

// parsePcap splits a capture file that pcapHeader and pcapRecord made.
func parsePcap(data []byte) (frames [][]byte, err error) {
	if len(data) < pcapFileSize || binary.NativeEndian.Uint32(data) != pcapMagic ||
		binary.NativeEndian.Uint32(data[20:24]) != pcapEthernet {
		return nil, errors.New("not a capture file of the lab")
	}
	for data = data[pcapFileSize:]; len(data) > 0; {
		if len(data) < pcapRecordSize {
			return nil, errors.New("the capture file ends in the middle of a record")
		}
		size := int(binary.NativeEndian.Uint32(data[8:12]))
		data = data[pcapRecordSize:]
		if size > len(data) {
			return nil, errors.New("the capture file ends in the middle of a frame")
		}
		frames = append(frames, data[:size])
		data = data[size:]
	}
	return frames, nil
}
