"""Which kernel modules the guest gets, and the table by which the agent loads them when the kernel asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BOOT = ("virtio_mmio", "virtio_console", "virtio_net")
"""Loaded before the agent speaks: the bus, its own port, the NICs."""

_LISTED = """
# links
8021q bonding bridge br_netfilter dummy geneve gre ifb ip_gre ip6_gre ip6_tunnel ip_tunnel ip_vti ip6_vti
ipip ipvlan macsec macvlan macvtap mpls_iptunnel mpls_router sit tap team tun tunnel4 tunnel6 veth vrf
vxlan wireguard xfrm_interface ppp_generic pppoe l2tp_core l2tp_eth l2tp_netlink l2tp_ip
# packet filter, NAT, connection tracking
nf_tables nf_conntrack nf_conntrack_netlink nf_conntrack_ftp nf_conntrack_tftp nf_conntrack_sip
nf_conntrack_bridge nf_flow_table nf_flow_table_inet nf_log_syslog nf_nat nf_nat_ftp nf_nat_tftp nf_nat_sip
nfnetlink nfnetlink_log nfnetlink_queue nfnetlink_cttimeout nft_chain_nat nft_compat nft_connlimit nft_ct
nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6 nft_flow_offload nft_fwd_netdev nft_dup_netdev nft_dup_ipv4
nft_dup_ipv6 nft_fib_netdev nft_hash nft_limit nft_log nft_masq nft_meta_bridge nft_nat nft_numgen
nft_objref nft_queue nft_quota nft_redir nft_reject nft_reject_inet nft_reject_ipv4 nft_reject_ipv6
nft_reject_bridge nft_reject_netdev nft_socket nft_synproxy nft_tproxy nft_tunnel nft_xfrm
ip_tables iptable_filter iptable_nat iptable_mangle iptable_raw ip6_tables ip6table_filter ip6table_nat
ip6table_mangle x_tables xt_addrtype xt_comment xt_connmark xt_conntrack xt_hashlimit xt_limit xt_LOG
xt_mac xt_mark xt_MASQUERADE xt_multiport xt_nat xt_NFLOG xt_physdev xt_REDIRECT xt_set xt_state
xt_statistic xt_TCPMSS xt_tcpudp xt_tcpmss xt_u32 ipt_REJECT ip6t_REJECT xt_CT xt_DSCP xt_dscp
ip_set ip_set_hash_ip ip_set_hash_net ip_set_hash_ipport ip_set_hash_netport ip_set_list_set
ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_mh
# queueing, classification, actions
act_bpf act_connmark act_ct act_csum act_gact act_mirred act_nat act_pedit act_police act_skbedit act_vlan
act_tunnel_key cls_basic cls_bpf cls_flow cls_flower cls_fw cls_matchall cls_route cls_u32
em_meta em_u32 sch_cake sch_codel sch_drr sch_dsmark sch_fq sch_fq_codel sch_hfsc sch_htb sch_ingress
sch_mqprio sch_multiq sch_netem sch_pie sch_prio sch_red sch_sfq sch_tbf sch_ets
# transport, diagnosis, IPsec
sctp udp_diag tcp_diag inet_diag raw_diag unix_diag af_packet_diag netlink_diag tcp_bbr tls psample
af_key ah4 ah6 esp4 esp6 ipcomp ipcomp6 xfrm_user xfrm4_tunnel xfrm6_tunnel fou fou6 openvswitch
# what wireguard and IPsec look up by name when they start
authenc echainiv seqiv gcm ccm cbc ctr hmac cmac sha256_generic sha1_generic chacha20poly1305
overlay
"""

ON_DEMAND = tuple(word for line in _LISTED.splitlines() if not line.startswith("#") for word in line.split())
"""Loaded when something in the guest needs them.  What a kernel has built in, or has not, is left out."""


@dataclass(frozen=True, slots=True)
class ModuleSet:
    """Files to put into the guest (name there, path here), and the two lists that the agent reads."""

    files: tuple[tuple[str, Path], ...]
    boot: str
    table: str


def choose_modules(root: Path) -> ModuleSet:
    """Resolve BOOT and ON_DEMAND with their dependencies against the modules below `root`."""
    dependencies = _dependencies(root)
    files: dict[str, Path] = {}

    def order(module: str) -> list[str]:
        """Files of a module, dependencies first."""
        names = []
        for path in dependencies[module]:
            name = _module(path) + ".ko"
            files[name] = root / path
            names.append(name)
        return names

    boot: list[str] = []
    for module in BOOT:
        boot += [name for name in order(module) if name not in boot] if module in dependencies else []
    chosen = {module.replace("-", "_") for module in (*BOOT, *ON_DEMAND)} & dependencies.keys()
    lines = [f"{module} {' '.join(order(module))}" for module in sorted(chosen)]
    # What only came along as a dependency may be asked for by its aliases, too.
    present = {name.removesuffix(".ko") for name in files}
    lines += [f"{module} {' '.join(order(module))}" for module in sorted(present - chosen)]
    for pattern, module in _aliases(root):
        if module in present:
            lines.append(f"{pattern} {' '.join(order(module))}")
    return ModuleSet(tuple(sorted(files.items())), " ".join(boot), "\n".join(lines) + "\n")


def _module(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")


def _dependencies(root: Path) -> dict[str, list[str]]:
    found = {}
    for line in (root / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        found[_module(path)] = [*reversed(needs.split()), path]
    return found


def _aliases(root: Path) -> list[tuple[str, str]]:
    found = []
    for line in (root / "modules.alias").read_text().splitlines():
        words = line.split()
        # Bus aliases name hardware that a microVM cannot have.
        if len(words) == 3 and words[0] == "alias" and not words[1].startswith(("pci:", "acpi", "usb:", "of:", "hid:")):
            found.append((words[1].replace("-", "_"), words[2].replace("-", "_")))
    return found
