package config

// groupKeywords is vrrp_sync_group.
func groupKeywords() []Keyword {
	return []Keyword{
		{Section: "vrrp_sync_group", Name: "group", Tier: A, Args: "{ instance names }", lines: groupMember, set: beginMembers, done: endMembers},
		{Section: "vrrp_sync_group", Name: "track_interface", Tier: B, Args: "{ lines, see section track_line }", lines: trackLine(trackInterface)},
		{Section: "vrrp_sync_group", Name: "track_script", Tier: B, Args: "{ lines }", lines: trackLine(trackScript)},
		{Section: "vrrp_sync_group", Name: "track_file", Tier: C, Args: "{ lines }", lines: trackLine(trackFile)},
		{Section: "vrrp_sync_group", Name: "track_process", Tier: C, Args: "{ lines }", lines: trackLine(trackProcess)},
		{Section: "vrrp_sync_group", Name: "track_bfd", Tier: C, Args: "{ lines }", lines: trackLine(trackBFD)},
		{Section: "vrrp_sync_group", Name: "notify_master", Tier: A, Args: "SCRIPT [USER [GROUP]]", set: script(gf(func(g *SyncGroup) **ScriptSpec { return &g.Notify.Master }))},
		{Section: "vrrp_sync_group", Name: "notify_backup", Tier: A, Args: "SCRIPT [USER [GROUP]]", set: script(gf(func(g *SyncGroup) **ScriptSpec { return &g.Notify.Backup }))},
		{Section: "vrrp_sync_group", Name: "notify_fault", Tier: A, Args: "SCRIPT [USER [GROUP]]", set: script(gf(func(g *SyncGroup) **ScriptSpec { return &g.Notify.Fault }))},
		{Section: "vrrp_sync_group", Name: "notify_stop", Tier: B, Args: "SCRIPT [USER [GROUP]]", set: script(gf(func(g *SyncGroup) **ScriptSpec { return &g.Notify.Stop }))},
		{Section: "vrrp_sync_group", Name: "notify", Tier: A, Args: "SCRIPT [USER [GROUP]]", set: script(gf(func(g *SyncGroup) **ScriptSpec { return &g.Notify.Any }))},
		{Section: "vrrp_sync_group", Name: "smtp_alert", Tier: B, Args: "[BOOL]", set: smtpAlert(gf(func(g *SyncGroup) *bool { return &g.SMTPAlert }))},
		{Section: "vrrp_sync_group", Name: "global_tracking", Tier: C, set: globalTracking},
		{Section: "vrrp_sync_group", Name: "sync_group_tracking_weight", Tier: B, set: setTrue(gf(func(g *SyncGroup) *bool { return &g.GlobalTracking }))},
		{Section: "vrrp_sync_group", Name: "notify_priority_changes", Tier: C, Args: "[BOOL]", set: boolean(gf(func(g *SyncGroup) *bool { return &g.NotifyPriorityChanges }))},
	}
}
