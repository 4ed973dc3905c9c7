/**
 * Files of weights and settings: safetensors and GGUF read in place, JSON with errors that name the key, checkpoints
 * that are whole or absent.
 */
package anneal.io;
