/** Arithmetic on buffers: one sealed interface, several tiers, chosen once. Nothing of ours is imported here. */
package anneal.kernels;
