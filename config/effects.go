package config

import "strings"

// effects names, for each keyword that works, the Go test that observes its
// effect outside of this package. A keyword without one is accepted: it is
// read, and nothing is known to come of it.
//
// Each line is TEST: SECTION/KEYWORD ..., with i for vrrp_instance, g for
// vrrp_sync_group, d for global_defs, s for vrrp_script, and an empty section
// for the top level.
const effects = `
TestVersion3BesideKeepalived: /vrrp_instance i/interface i/virtual_router_id i/priority i/advert_int i/version i/virtual_ipaddress
TestSyncGroupOverTwoNetworksMovesWithItsRoutes: /vrrp_sync_group g/group i/virtual_routes
TestTwoMastersCrossed: i/state
TestAddressOnAnotherInterfaceThanVRRP: /static_ipaddress /static_routes i/dont_track_primary i/track_interface i/preempt_delay
TestMasterAndBackupWithSourceAddress: i/mcast_src_ip
TestUnicastWithoutPreemption: i/unicast_peer i/unicast_src_ip i/nopreempt
TestBothComplainOfAWrongPassword: i/authentication i/authentication/auth_type i/authentication/auth_pass
TestTermLeavesNothingBehind: i/virtual_ipaddress_excluded i/virtual_rules /global_defs d/vrrp_notify_fifo d/vrrp_notify_fifo_script
TestCheckScriptsMoveTheAddressByPriority: /vrrp_script s/script s/interval s/weight i/track_script
TestClusterProcessKilledOrFrozenMovesNothing: s/rise s/fall
TestNotificationsEqualKeepalived: i/notify_master i/notify_backup i/notify_fault i/notify_stop i/notify g/notify_master g/notify_backup g/notify_fault g/notify_stop g/notify
TestScriptsAndLinesEqualKeepaliveds: d/notify_fifo i/notify_deleted
TestAlertMailsAreKeepaliveds: d/router_id d/notification_email d/notification_email_from d/smtp_server d/smtp_helo_name d/smtp_alert d/no_email_faults i/smtp_alert
TestAlertMailsWaitForTheRelay: d/smtp_alert_vrrp
TestPrioritiesAndStatesOnTheFIFO: d/vrrp_notify_priority_changes d/fifo_write_vrrp_states_on_reload i/notify_priority_changes /track_file track_file/file i/track_file
TestWriteObeysTheUmaskKeyword: d/umask
TestDataUseInstanceNamesTheDataFile: d/data_use_instance /instance
TestMeshFormsOneClusterAndKeepsItsValues: d/vrrp_version
TestTimersAndAnnouncementsFollowTheirKeywords: i/garp_master_delay i/garp_master_repeat i/garp_master_refresh i/garp_master_refresh_repeat i/garp_lower_prio_delay i/garp_lower_prio_repeat
TestTimersAndAnnouncementsFollowTheirKeywords: d/vrrp_garp_master_delay d/vrrp_garp_master_repeat d/vrrp_garp_master_refresh d/vrrp_garp_master_refresh_repeat d/vrrp_garp_lower_prio_delay d/vrrp_garp_lower_prio_repeat d/vrrp_min_garp
TestTimersAndAnnouncementsFollowTheirKeywords: i/down_timer_adverts d/vrrp_down_timer_adverts i/higher_prio_send_advert d/vrrp_higher_prio_send_advert i/lower_prio_no_advert d/vrrp_lower_prio_no_advert
TestTimersAndAnnouncementsFollowTheirKeywords: d/vrrp_strict i/strict_mode d/vrrp_startup_delay i/preempt
TestWeightsOfTrackersFollowTheirKeywords: g/sync_group_tracking_weight g/track_interface g/track_script
TestScriptOfTheStateComesBeforeNotify: i/notify_master_rx_lower_pri
TestTheKernelLooksAsUnderKeepalived: address/ADDRESS[/LEN] address/dev address/scope address/broadcast address/brd address/label address/peer address/home address/-nodad address/noprefixroute address/preferred_lft
TestTheKernelLooksAsUnderKeepalived: route/to route/via route/dev route/src route/table route/scope route/tos route/metric route/nexthop nexthop/via
TestTheKernelLooksAsUnderKeepalived: rule/from rule/to rule/table rule/not rule/priority rule/tos rule/iif
TestUnicastWithoutPreemption: unicast_peer/ADDR
TestUnicastTTLAndWindow: i/unicast_ttl unicast_peer/min_ttl unicast_peer/max_ttl
TestTimerExpiredBackupYieldsWithoutAnAdvert: i/timer_expired_backup
TestHMACKeysRotateWithoutATransition: i/auth_hmac i/auth_hmac/key i/auth_hmac/active_key
TestVirtualInterfacesLookAsUnderKeepalived: i/use_vmac
TestCheck: i/check_unicast_src i/skip_check_adv_addr
TestAddressOnAnotherInterfaceThanVRRP: track_line/IFNAME
TestCheckScriptsMoveTheAddressByPriority: track_line/SCRIPT
TestPrioritiesAndStatesOnTheFIFO: track_line/FILE
TestARealProcessComesAndGoes: track_line/PROCESS
TestAnotherUserRunsTheScript: d/script_user s/user
TestSecurityNamesThePartAndTheFix: d/enable_script_security
TestFIFOScriptReadsTheLastLineAndEnds: d/notify_fifo_script
TestTimeoutAndMissingProgramAreFailures: s/timeout
TestScriptFollowsKeepalivedsCounter: s/init_fail
TestQuorumDecidesFromTheNumber: vrrp_track_process/quorum vrrp_track_process/quorum_max
TestDelaysHoldBackAChangeButNotTheFirstState: vrrp_track_process/delay vrrp_track_process/terminate_delay vrrp_track_process/fork_delay
TestCommandLinesAreComparedAsParamMatchSays: vrrp_track_process/param_match vrrp_track_process/full_command
TestARealProcessComesAndGoes: /vrrp_track_process vrrp_track_process/process i/track_process g/track_process
TestTwoMastersCrossed: d/vrrp_mcast_group4
TestGroupProbeAndFilesAreTheInstancesOwn: i/mcast_dst_ip i/lan_probe i/track_src_ip track_file/weight
TestRealTimePriorityOfEveryThread: d/vrrp_rt_priority d/vrrp_rlimit_rttime d/vrrp_no_swap
TestHMACKeysRotateWithoutATransition: i/auth_hmac vrrp_instance/auth_hmac/key vrrp_instance/auth_hmac/active_key
TestHMACIsTranslated: vrrp_instance/auth_hmac/time_window vrrp_instance/auth_hmac/anti_replay vrrp_instance/auth_hmac/mode
TestOldUnicastChecksumOfKeepalivedIsAdopted: i/old_unicast_checksum
TestUnicastTTLAndWindow: i/unicast_ttl
TestUnicastWithoutAPeerSaysWhy: i/unicast_fault_no_peer
TestTimerExpiredBackupYieldsWithoutAnAdvert: i/timer_expired_backup i/thread_timer_expired
TestOwnerThatIgnoresAdvertsIsMovedByNone: i/owner_ignore_adverts d/vrrp_owner_ignore_adverts
TestStartupDelayIsTheLongerOfBoth: d/vrrp_delay_after_boot
TestVirtualInterfacesLookAsUnderKeepalived: i/use_vmac i/no_accept
TestTheKernelLooksAsUnderKeepalived: route/pref rule/fwmark rule/ipproto rule/sport rule/dport rule/uidrange rule/goto
TestVirtualInterfacesAreNamedAndUsedAsByKeepalived: i/vmac_xmit_base
TestCheck: i/v3_checksum_as_v2 d/v3_checksum_as_v2 d/vrrp_check_unicast_src d/vrrp_skip_check_adv_addr
TestBFDWithKeepalived: /bfd_instance bfd_instance/neighbor_ip bfd_instance/source_ip bfd_instance/min_rx bfd_instance/min_tx bfd_instance/multiplier i/track_bfd
TestBFDMovesPriority: bfd_instance/passive
TestBFDOverIPv6AndMultihop: bfd_instance/multihop bfd_instance/max_hops
TestScriptsOfTheDaemonsLife: d/startup_script d/shutdown_script
`

// meshEffects is the same for mesh.conf.
const meshEffects = `
TestMeshFormsOneClusterAndKeepsItsValues: /mesh mesh/cluster_name mesh/node_name mesh/bind mesh/join mesh/bootstrap_expect mesh/encrypt_key_file mesh/data_dir
TestMeshObserverAndWitness: mesh/role
TestMeshSecondWirePortInUse: mesh/port
TestWireHoldersWordCountsWithoutALANProbe: mesh/lan_probe
TestOperatorCertificatesProveTheUUIDByGreeting: mesh/tls mesh/tls/ca mesh/tls/cert mesh/tls/key
`

var effectSections = map[string]string{"": "root", "i": "vrrp_instance", "g": "vrrp_sync_group", "d": "global_defs", "s": "vrrp_script"}

// markEffects sets the state of every row.
func (t *keywordTable) markEffects(effects string) {
	for line := range strings.Lines(effects) {
		test, keywords, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		for _, k := range strings.Fields(keywords) {
			section, name, _ := strings.Cut(k, "/")
			if long := effectSections[section]; long != "" {
				section = long
			}
			if n := strings.LastIndexByte(name, '/'); n >= 0 && t.section[section][name] == nil {
				section, name = section+"/"+name[:n], name[n+1:]
			}
			row := t.section[section][name]
			if row == nil {
				panic("effects: there is no keyword " + name + " in " + section)
			}
			row.Support, row.Test = Works, test
		}
	}
}
