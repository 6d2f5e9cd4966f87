package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sysctlRoot shows the settings of the namespace of the thread that looks.
const sysctlRoot = "/proc/sys/net/"

// Sysctls changes kernel settings for virtual interfaces as keepalived does,
// remembers what they were, and puts that back. A setting that cannot be
// changed (a read-only /proc/sys in a container) is logged once and left: the
// virtual router works without most of them.
type Sysctls struct {
	log   *slog.Logger
	was   map[string]string
	order []string // of the first change, for Restore
	wrong map[string]bool
}

// NewSysctls makes one that has changed nothing.
func NewSysctls(log *slog.Logger) *Sysctls {
	return &Sysctls{log: log, was: map[string]string{}, wrong: map[string]bool{}}
}

// Restore puts back every setting that was changed, the last one first. Those
// of interfaces that are gone are forgotten.
func (s *Sysctls) Restore() error {
	var errs []error
	for _, name := range slices.Backward(s.order) {
		if err := os.WriteFile(sysctlRoot+name, []byte(s.was[name]), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("restoring net/%s: %w", name, err))
		}
	}
	s.was, s.order = map[string]string{}, nil
	return errors.Join(errs...)
}

// prepare sets what v needs before it is switched on.
func (s *Sysctls) prepare(v Virtual) {
	if v.V6 {
		return
	}
	own := "ipv4/conf/" + v.Name + "/"
	s.fix("ipv6/conf/"+v.Name+"/disable_ipv6", 1)
	s.relaxReversePath(v.Name)
	s.fix(own+"rp_filter", 0)
	if v.Kind != MACVLAN {
		return
	}
	// The parent would answer ARP for the addresses above it, with its own MAC.
	below := "ipv4/conf/" + v.Parent + "/"
	if n, ok := s.read(below + "arp_ignore"); ok && n == 0 {
		s.set(below+"arp_ignore", 1)
	}
	s.set(below+"arp_filter", 1)
	s.fix(own+"arp_ignore", 1)
	s.fix(own+"accept_local", 1)
	s.fix(own+"promote_secondaries", 1)
}

// relaxReversePath moves net.ipv4.conf.all.rp_filter, which is a minimum for
// all interfaces, to each of the others, so that the virtual one can have 0: its
// addresses are reached by routes over the parent.
func (s *Sysctls) relaxReversePath(own string) {
	const conf = "ipv4/conf/"
	least, ok := s.read(conf + "all/rp_filter")
	if !ok || least == 0 {
		return
	}
	dirs, err := os.ReadDir(sysctlRoot + conf)
	if err != nil {
		s.complain(conf, err)
		return
	}
	for _, d := range dirs {
		name := filepath.Join(conf, d.Name(), "rp_filter")
		if d.Name() == "all" || d.Name() == "lo" || d.Name() == own {
			continue
		}
		if n, ok := s.read(name); ok && n < least {
			s.set(name, least)
		}
	}
	s.set(conf+"all/rp_filter", 0)
}

// read returns a setting; false where it cannot be read.
func (s *Sysctls) read(name string) (int, bool) {
	b, err := os.ReadFile(sysctlRoot + name)
	if err != nil {
		s.complain(name, err)
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// set changes a setting that Restore puts back.
func (s *Sysctls) set(name string, value int) {
	before, ok := s.read(name)
	if !ok || before == value || !s.fix(name, value) {
		return
	}
	if _, known := s.was[name]; !known {
		s.was[name] = strconv.Itoa(before)
		s.order = append(s.order, name)
	}
	s.log.Info("kernel setting changed until the end", "setting", "net/"+name, "from", before, "to", value)
}

// fix changes a setting of an interface that goes away with us.
func (s *Sysctls) fix(name string, value int) bool {
	if err := os.WriteFile(sysctlRoot+name, strconv.AppendInt(nil, int64(value), 10), 0); err != nil {
		s.complain(name, err)
		return false
	}
	return true
}

func (s *Sysctls) complain(name string, err error) {
	if !s.wrong[name] && !errors.Is(err, fs.ErrNotExist) {
		s.wrong[name] = true
		s.log.Warn("cannot change a kernel setting for a virtual interface", "setting", "net/"+name, "err", err)
	}
}
