package dump

import (
	"io"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// Stats writes keepalived.stats: the counters of every instance.
func Stats(w io.Writer, c *config.Config, s *ipc.Snapshot) error {
	d := newDumper(w, c, s, Env{})
	for _, i := range c.Instances {
		n := &d.status(i).Stats
		d.line("VRRP Instance: %s", i.Name)
		d.line("  Advertisements:")
		d.line("    Received: %d", n.AdvertsReceived)
		d.line("    Sent: %d", n.AdvertsSent)
		d.line("  Became master: %d", n.BecameMaster)
		d.line("  Released master: %d", n.ReleasedMaster)
		d.line("  Packet Errors:")
		d.line("    Length: %d", n.PacketLenErrors)
		d.line("    TTL: %d", n.TTLErrors)
		d.line("    Invalid Type: %d", n.TypeErrors)
		d.line("    Advertisement Interval: %d", n.IntervalErrors)
		d.line("    Address List: %d", n.AddrListErrors)
		d.line("  Authentication Errors:")
		d.line("    Invalid Type: %d", n.AuthTypeInvalid)
		d.line("    Type Mismatch: %d", n.AuthTypeMismatch)
		d.line("    Failure: %d", n.AuthFailure)
		d.line("  Priority Zero:")
		d.line("    Received: %d", n.PriZeroReceived)
		d.line("    Sent: %d", n.PriZeroSent)
	}
	return d.flush()
}
