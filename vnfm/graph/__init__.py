"""From files to graphs.

`chainfile` reads a chain in either form, `nsdtext` writes it as a SOL001 NSD, `build` joins it with its VNFDs into a
`servicegraph.ServiceGraph`, `picture` draws it.
"""
