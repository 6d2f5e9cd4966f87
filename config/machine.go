package config

import (
	"fmt"
	"net"
	"os"
	"os/user"
)

// Machine gives the options that check a configuration against this machine:
// its interfaces, users, script files and resolver.
func Machine() Options {
	return Options{
		Interfaces: interfaceNames,
		Scripts:    os.DirFS("/"),
		User:       lookupUser,
		Resolve: func(host string) bool {
			_, err := net.LookupHost(host)
			return err == nil
		},
	}
}

func interfaceNames() ([]string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Name
	}
	return names, nil
}

func lookupUser(name, group string) error {
	if _, err := user.Lookup(name); err != nil {
		return fmt.Errorf("there is no user %s", printable(name))
	}
	if group == "" {
		return nil
	}
	if _, err := user.LookupGroup(group); err != nil {
		return fmt.Errorf("there is no group %s", printable(group))
	}
	return nil
}
