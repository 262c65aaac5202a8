// SPDX-License-Identifier: Apache-2.0

package attack

// defaultLayers are the layers that the daemon has when it is started without options about them.
const defaultLayers = byNamespaces + byRoot + byCapabilities + byFilter
