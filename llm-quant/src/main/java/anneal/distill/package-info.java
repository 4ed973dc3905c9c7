/** A smaller model that learns from a larger one: losses, teachers on disk, generated text, students made of a teacher's layers. */
package anneal.distill;
