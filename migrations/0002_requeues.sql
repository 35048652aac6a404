ALTER TABLE "attempts" DROP CONSTRAINT "attempts_batch_task";--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "restart" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_batch_task" UNIQUE("batch_id","task_index","restart");