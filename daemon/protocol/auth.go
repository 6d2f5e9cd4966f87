package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// maxKeyFile is more than a key of 64 bytes in hexadecimal takes.
const maxKeyFile = 256

// protect gives the speaker what an instance's adverts are checked by. Where a
// key is unusable the instance gets a fault: without its key it must neither
// send nor hear.
func (p *process) protect(name string, s *settings.Instance, out *speaker.Instance) {
	out.AH, out.OwnerIgnore = s.AuthAH, s.OwnerIgnore
	out.OldUnicast, out.ChecksumGroup = s.OldUnicast, s.ChecksumGroup
	if s.HMAC == nil {
		return
	}
	cfg := &packet.HMACConfig{Active: s.HMAC.Active, Mode: s.HMAC.Mode, Window: s.HMAC.Window}
	for _, k := range s.HMAC.Keys {
		secret, err := secretOf(k.Spec)
		switch {
		case err == nil:
			cfg.Keys = append(cfg.Keys, packet.HMACKey{ID: k.ID, Secret: secret})
		case k.ID == s.HMAC.Active:
			s.Fault = fmt.Sprintf("auth_hmac key %d: %v", k.ID, err)
			return
		default:
			p.log.Error("a key of auth_hmac is left out", "instance", name, "key", k.ID, "err", err)
		}
	}
	for _, peer := range s.Peers {
		cfg.Peers = append(cfg.Peers, peer.Addr)
	}
	out.HMAC = cfg
}

// secretOf reads a key as auth_hmac gives it: hex:DIGITS, file:PATH with either
// of the others in the file, or the bytes themselves.
func secretOf(spec string) ([]byte, error) {
	if path, ok := strings.CutPrefix(spec, "file:"); ok {
		b, err := os.ReadFile(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the key: %w", err)
		case len(b) > maxKeyFile:
			return nil, fmt.Errorf("%s is too large for a key of 32 to 64 bytes", path)
		}
		spec = string(bytes.TrimRight(b, "\r\n"))
	}
	secret := []byte(spec)
	if digits, ok := strings.CutPrefix(spec, "hex:"); ok {
		var err error
		if secret, err = hex.DecodeString(digits); err != nil {
			return nil, errors.New("hex: takes an even number of hexadecimal digits")
		}
	}
	if n := len(secret); n < packet.MinHMACSecret || n > packet.MaxHMACSecret {
		return nil, fmt.Errorf("it has %d bytes: give it 32 to 64", n)
	}
	return secret, nil
}

// tellConfig tells an instance whether its configuration lets it run.
func (p *process) tellConfig(i *instance) {
	if i.set.Fault == "" && i.set.HMAC == nil {
		return
	}
	ev := vrrp.TrackerChanged{ID: vrrp.TrackerID("config:" + i.cfg.Name), State: vrrp.Up, Cause: i.set.Fault}
	if i.set.Fault != "" {
		ev.State = vrrp.Down
	}
	p.speaker.Inject(&ev)
}

// sinceBoot is the time since the machine was started, suspends included.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	// Cannot fail: the clock exists on every kernel that Go supports.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// startupDelay is the longer of vrrp_startup_delay and what is left of
// vrrp_delay_after_boot.
func startupDelay(cfg *settings.VRRP, up time.Duration) time.Duration {
	return max(cfg.Router.StartupDelay, cfg.DelayAfterBoot-up)
}
