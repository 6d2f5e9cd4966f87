// Command bench measures keepmesh and keepalived side by side and prints
// ratios; `make bench` runs it.
//
// Three systems stand in labs of their own at the same time: keepalived,
// keepmesh without a mesh, and keepmesh with one. They take turns in every
// round, in an order that rotates, so that what else the machine does meets all
// of them alike. Absolute figures hold for the machine and the hour only; the
// ratio of two medians of one run is what a run says.
//
// What spoils a figure on a shared or virtual machine is taken care of:
//
//   - A sample in whose window the hypervisor stole time is thrown away and
//     taken again; the row says how many were.
//   - Instants are the kernel's, of frames where they enter the switch. A
//     measure in which the sniffer lost frames fails.
//   - Outages depend on the phase of the advert interval at which the host
//     died. The lateness of the first advert against the successor's own timer
//     does not, and is compared instead.
//   - Every keepmesh host runs a copy of the binary, so that its proportional
//     memory is not shared with the other hosts of the lab.
//   - CPU is read from the kernel's per-process clocks, exact to the nanosecond,
//     not from ticks.
//
// Each row is one line of JSON in the file of -out; the table at the end shows
// the same.
package main
