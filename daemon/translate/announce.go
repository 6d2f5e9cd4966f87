package translate

import (
	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// gaps translates the gaps between announcements.
func gaps(c *config.Config, out *settings.VRRP) {
	out.GARPInterval, out.GNAInterval = c.Global.GARPInterval, c.Global.GNAInterval
	for _, g := range c.GARPGroups {
		group := settings.GARPGroup{GARPInterval: g.GARPInterval, GNAInterval: g.GNAInterval}
		if g.Interface != "" {
			group.Interfaces = append(group.Interfaces, g.Interface)
		}
		for _, r := range g.Interfaces {
			group.Interfaces = append(group.Interfaces, r.Name)
		}
		out.GARPGroups = append(out.GARPGroups, group)
	}
}
